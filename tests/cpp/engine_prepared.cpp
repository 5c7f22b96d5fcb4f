// Calls that are prepared once and made many times, and what their caller lets go of.

#include <array>
#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.hpp"
#include "engine_ranks.hpp"
#include "engine_sample_call.hpp"

namespace pycoll::test::engine_prepared {
namespace {

class Counting final : public Caller {
public:
    void let_go() override { ++let_go_; }
    [[nodiscard]] int times() const { return let_go_; }

private:
    int let_go_ = 0;
};

Call sum_of(const std::vector<int>& input, std::vector<int>& output) {
    return {.collective = Collective::all_reduce,
            .dtype = DType::i32,
            .count = input.size(),
            .input = input.data(),
            .output = output.data()};
}

const Test runs_again("engine: a prepared call may be made with any arrays that it fits", [] {
    for (const Nodes& nodes : {Nodes{}, Nodes{3}, Nodes{2, 1}}) {
        for (const std::size_t count : {5U, 100'000U}) {
            const Ranks ranks(3, {}, {}, nodes);
            on_ranks(3, [&](int rank) {
                std::vector<int> input(count);
                std::vector<int> output(count);
                const auto prepared = ranks[rank].prepare(sum_of(input, output));
                for (int round = 0; round < 20; ++round) {
                    std::vector<int> other(count, 10 * round + rank);
                    std::vector<int> sum(count);
                    Counting caller;
                    ranks[rank].run(prepared, other.data(), sum.data(), caller);
                    check(sum == std::vector<int>(count, 30 * round + 3), "another sum");
                    check(caller.has_begun, "it has run, but not begun");
                }
            });
        }
    }
});

const Test fits("engine: a prepared call fits arrays that overlap as its own did", [] {
    const Ranks ranks(1);
    std::vector<int> memory(20);
    std::vector<int> other(10);
    const int* const data = memory.data();
    const auto apart = ranks[0].prepare(sum_of(other, memory));
    check(apart->fits(other.data(), data), "its own arrays");
    check(apart->fits(data + 10, data), "side by side");
    check(!apart->fits(data, data), "in place");
    check(!apart->fits(data + 9, data), "one element in both");
    Call call = sum_of(other, other);
    const auto in_place = ranks[0].prepare(call);
    check(in_place->fits(data + 3, data + 3), "in place, elsewhere");
    check(!in_place->fits(data, data + 10), "apart");
    check(!in_place->fits(data + 1, data), "shifted");
    call.collective = Collective::all_gather;
    check(ranks[0].prepare(call)->fits(data, data), "the only block");
});

const Test bad_calls("engine: what cannot be made is not prepared either", [] {
    const Ranks ranks(2);
    std::vector<int> array(10);
    Call call = sum_of(array, array);
    call.algorithm = "no such";
    check_throws<std::invalid_argument>([&] { static_cast<void>(ranks[0].prepare(call)); },
                                        "no such");
    ranks[0].close();
    call.algorithm = "auto";
    check_throws<CollectiveError>([&] { static_cast<void>(ranks[0].prepare(call)); }, "is closed");
});

const Test lets_go("engine: a caller lets go when it waits for long, or much is to be moved", [] {
    const Ranks ranks(2, {}, {}, {2});
    std::atomic<bool> is_waiting = false;
    on_ranks(2, [&](int rank) {
        std::vector<int> array(4);
        const auto prepared = ranks[rank].prepare(sum_of(array, array));
        Counting caller;
        if (rank == 0) {
            is_waiting = true;
        } else {
            while (!is_waiting) std::this_thread::yield();
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        ranks[rank].run(prepared, array.data(), array.data(), caller);
        if (rank == 0) check(caller.times() > 0, "it held on while it waited");
    });
    on_ranks(2, [&](int rank) {
        std::vector<int> array(100'000);
        const auto prepared = ranks[rank].prepare(sum_of(array, array));
        Counting caller;
        ranks[rank].run(prepared, array.data(), array.data(), caller);
        check(caller.times() > 0, "it held on while much was moved");
    });
});

/// Lets the transport go on, which another thread is in.
class Awaited final : public Caller {
public:
    explicit Awaited(std::latch& goes_on) : goes_on_(goes_on) {}
    void let_go() override {
        if (!has_let_go_) goes_on_.count_down();
        has_let_go_ = true;
    }

private:
    std::latch& goes_on_;
    bool has_let_go_ = false;
};

/// Looks for messages as MPI does when that needs, for a callback of the user's, what a caller has.
class Demanding : public Transport {
public:
    Demanding(std::unique_ptr<Transport> inner, std::latch& entered, std::latch& goes_on)
        : inner_(std::move(inner)), entered_(entered), goes_on_(goes_on) {}

    [[nodiscard]] int rank() const override { return inner_->rank(); }
    [[nodiscard]] int size() const override { return inner_->size(); }
    [[nodiscard]] int tag_count() const override { return inner_->tag_count(); }
    [[nodiscard]] std::string name() const override { return inner_->name(); }
    [[nodiscard]] bool any_thread() const override { return inner_->any_thread(); }
    void send(int peer, int tag, std::span<const std::byte> bytes, Token token) override {
        inner_->send(peer, tag, bytes, token);
    }
    void recv(int peer, int tag, std::span<std::byte> bytes, Token token) override {
        inner_->recv(peer, tag, bytes, token);
    }
    void poll(std::vector<Completion>& completions) override {
        if (!has_waited_.exchange(true)) {
            entered_.count_down();
            goes_on_.wait();
        }
        inner_->poll(completions);
    }

private:
    std::unique_ptr<Transport> inner_;
    std::latch& entered_;
    std::latch& goes_on_;
    std::atomic<bool> has_waited_ = false;
};

const Test lock_order("engine: a caller lets go before it waits for the communicator's lock", [] {
    std::latch entered(1);
    std::latch goes_on(1);
    const Ranks ranks(2, {}, {}, {},
                      [&](std::unique_ptr<Transport> inner) -> std::unique_ptr<Transport> {
                          if (inner->rank() == 1) return inner;
                          return std::make_unique<Demanding>(std::move(inner), entered, goes_on);
                      });
    on_ranks(2, [&](int rank) {
        std::vector<int> array(4);
        std::array<std::byte, 1> byte{};
        const auto prepared = ranks[rank].prepare(sum_of(array, array));
        Counting caller;
        if (rank == 1) {
            ranks[1].run(prepared, array.data(), array.data(), caller);
            ranks[1].send(byte, 0, 0, nullptr).wait();
            return;
        }
        Work work = ranks[0].recv(byte, 1, 0, nullptr);
        entered.wait();  // the progress thread looks for the message, with the lock
        Awaited awaited(goes_on);
        ranks[0].run(prepared, array.data(), array.data(), awaited);
        work.wait();
    });
});

const Test not_alone("engine: a caller lets go at once where there is more to do than its call",
                     [] {
                         const Ranks ranks(2, {}, {}, {2});
                         on_ranks(2, [&](int rank) {
                             std::vector<int> array(4);
                             std::array<std::byte, 1> byte{};
                             const auto prepared = ranks[rank].prepare(sum_of(array, array));
                             Work work = rank == 0 ? ranks[0].recv(byte, 1, 0, nullptr)
                                                   : ranks[1].recv(byte, 0, 0, nullptr);
                             Counting caller;
                             ranks[rank].run(prepared, array.data(), array.data(), caller);
                             check(caller.times() > 0, "it held on");
                             ranks[rank].send(byte, 1 - rank, 0, nullptr).wait();
                             work.wait();
                         });
                     });

const Test fails("engine: a prepared call that fails has begun, unless nobody has heard of it", [] {
    const Ranks ranks(2, {}, {.timeout = std::chrono::milliseconds(20)}, {2});
    std::vector<int> array(4);
    const auto prepared = ranks[0].prepare(sum_of(array, array));
    Counting caller;
    check_throws<TimeoutError>([&] { ranks[0].run(prepared, array.data(), array.data(), caller); },
                               "rank 1");
    check(caller.has_begun, "it was under way");
    Counting again;
    check_throws<CollectiveError>(
        [&] { ranks[0].run(prepared, array.data(), array.data(), again); }, "failed earlier");
    check(!again.has_begun, "it was refused");
});

}  // namespace
}  // namespace pycoll::test::engine_prepared
