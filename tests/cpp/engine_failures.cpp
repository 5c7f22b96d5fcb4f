// What goes wrong ends the operations of one communicator, with an error that says why, and only
// of that one.
//
// Deadlines here end waits for peers that never answer: a slow machine cannot make them answer.

#include <array>
#include <atomic>
#include <chrono>
#include <latch>
#include <memory>

#include "check.hpp"
#include "engine/progress.hpp"
#include "engine_failing_transport.hpp"
#include "engine_ranks.hpp"
#include "engine_sample_call.hpp"

namespace pycoll::test::engine_failures {
namespace {

using std::chrono::milliseconds;

SampleCall::Shape all_reduce_of(std::uint64_t count) {
    return {.collective = Collective::all_reduce,
            .size = 2,
            .count = count,
            .algorithm = "recursive_doubling"};
}

/// An all-reduce whose memory is what keeps it alive.
struct OwnedCall {
    explicit OwnedCall(int rank) : sample(std::make_shared<SampleCall>(all_reduce_of(5), rank)) {}
    std::shared_ptr<SampleCall> sample;
};

void check_works(const Ranks& ranks) {
    on_ranks(2, [&](int rank) {
        const SampleCall sample(all_reduce_of(5), rank);
        ranks[rank].run(sample.call());
        sample.check();
    });
}

void check_refused(Communicator& communicator, std::string_view why) {
    const SampleCall sample(all_reduce_of(5), communicator.rank());
    check_throws<CollectiveError>([&] { communicator.run(sample.call()); },
                                  "cannot be used: " + std::string(why));
    std::array<std::byte, 4> bytes{};
    check_throws<CollectiveError>(
        [&] { (void)communicator.send(bytes, 1 - communicator.rank(), 0, nullptr); },
        "make a new one");
}

const Test absent_peer("engine: a peer that never calls makes a timeout that names it", [] {
    const Ranks others(2);
    std::weak_ptr<void> memory;
    {
        // The peer's message must find the memory it was promised.
        const Ranks ranks(2, {.rendezvous = 1}, {.timeout = milliseconds(20)});
        OwnedCall owned(0);
        memory = owned.sample;
        const Call call = owned.sample->call();
        check_throws<TimeoutError>(
            [&] { ranks[0].run(call, std::move(owned.sample)); },
            "rank 0: all_reduce (call 1: 5 x int32): gave up after 0.02 s, "
            "waiting for a message from rank 1, rank 1 to receive a message");
        check_refused(ranks[0], "all_reduce (call 1: 5 x int32): gave up after 0.02 s");
        const SampleCall late(all_reduce_of(5), 1);
        ranks[1].run(late.call());
        late.check();
        check_works(others);
    }
    check(!memory.expired(), "memory was freed that a message might have been under way to");
    check_works(others);
});

const Test all_fail("engine: whatever else is outstanding fails, too, and says why", [] {
    const Ranks ranks(2, {}, {.timeout = milliseconds(20)});
    // Tests end; failed operations never do.
    const auto bytes = std::make_shared<std::array<std::byte, 4>>();
    Work recv = ranks[0].recv(*bytes, 1, 3, bytes);
    const OwnedCall owned(0);
    Work work = ranks[0].start(owned.sample->call(), owned.sample);
    check_throws<TimeoutError>(
        [&] { work.wait(); },
        "rank 0: all_reduce (call 1: 5 x int32): given up, as the communicator failed: "
        "recv from rank 1 with tag 3 (4 bytes): gave up after 0.02 s, "
        "waiting for a message from rank 1");
    check_throws<TimeoutError>([&] { recv.wait(); }, "rank 0: recv from rank 1 with tag 3");
    check_throws<TimeoutError>([&] { (void)recv.test(); }, "rank 0: recv from rank 1 with tag 3");
});

const Test wait_again("engine: a wait that timed out may be repeated", [] {
    const Ranks ranks(2);
    std::latch timed_out(1);
    on_ranks(2, [&](int rank) {
        const SampleCall sample(all_reduce_of(5), rank);
        if (rank == 1) {
            timed_out.wait();
            ranks[1].run(sample.call());
        } else {
            Work work = ranks[0].start(sample.call(), nullptr);
            check_throws<TimeoutError>([&] { work.wait(milliseconds(0)); }, "not done after 0 s");
            check_throws<TimeoutError>([&] { work.wait(milliseconds(5)); },
                                       "rank 0: all_reduce (call 1: 5 x int32): not done after "
                                       "0.005 s; it waits for ");
            check(!work.test(), "done without its peer");
            timed_out.count_down();
            work.wait(std::chrono::nanoseconds::max());
        }
        sample.check();
    });
    check_works(ranks);
});

/// Says of every message at once that it has gone through, but of the user's receives never.
class HastyTransport final : public Transport {
public:
    [[nodiscard]] int rank() const override { return 0; }
    [[nodiscard]] int size() const override { return 4; }
    [[nodiscard]] int tag_count() const override { return 100; }
    [[nodiscard]] std::string name() const override { return "hasty"; }
    [[nodiscard]] bool any_thread() const override { return false; }
    void send(int /*peer*/, int /*tag*/, std::span<const std::byte> /*bytes*/,
              Token token) override {
        done_.push_back({token, {}});
    }
    void recv(int /*peer*/, int tag, std::span<std::byte> /*bytes*/, Token token) override {
        if (tag < tag_count() / 2) done_.push_back({token, {}});
    }
    void poll(std::vector<Completion>& completions) override {
        completions.insert(completions.end(), done_.begin(), done_.end());
        done_.clear();
    }

private:
    std::vector<Completion> done_;
};

const Test deadline_while_busy("engine: other traffic does not keep a wait from timing out", [] {
    const auto communicator =
        std::make_shared<Communicator>(std::make_unique<HastyTransport>(), Communicator::Options{});
    const auto bytes = std::make_shared<std::array<std::byte, 4>>();
    Work never = communicator->recv(*bytes, 1, 0, bytes);
    std::vector<int> values(400);
    Work busy = communicator->start({.collective = Collective::all_reduce,
                                     .dtype = DType::i32,
                                     .count = values.size(),
                                     .input = values.data(),
                                     .output = values.data(),
                                     .algorithm = "ring",
                                     .chunk_bytes = 4},
                                    nullptr);
    // Something moves in every round until that is over, 600 messages later.
    check_throws<TimeoutError>([&] { never.wait(milliseconds(0)); }, "not done after 0 s");
    check(!busy.test(), "waited for the other traffic");
    busy.wait();
    stop_progress();  // forgets what never ends
});

const Test mismatch("engine: different counts are an error on the ranks that notice", [] {
    const Ranks ranks(2);
    on_ranks(2, [&](int rank) {
        const auto sample =
            std::make_shared<SampleCall>(all_reduce_of(5 + static_cast<std::uint64_t>(rank)), rank);
        check_throws<CollectiveError>([&] { ranks[rank].run(sample->call(), sample); },
                                      "rank " + std::to_string(1 - rank) + " sent ");
        check_refused(ranks[rank], "all_reduce (call 1: ");
    });
});

void check_fault(Fault fault, const std::string& text) {
    ThreadGroup group(2, {});
    const auto switched = std::make_shared<std::atomic<Fault>>(Fault::none);
    const auto broken = std::make_shared<Communicator>(
        std::make_unique<FailingTransport>(group.transport(0), switched), Communicator::Options{});
    const auto whole = std::make_shared<Communicator>(group.transport(1), Communicator::Options{});
    on_ranks(2, [&](int rank) {
        const SampleCall sample(all_reduce_of(5), rank);
        (rank == 0 ? broken : whole)->run(sample.call());
        sample.check();
    });
    const auto bytes = std::make_shared<std::array<std::byte, 4>>();
    Work outstanding = broken->recv(*bytes, 1, 0, bytes);
    const OwnedCall theirs(1);
    (void)whole->start(theirs.sample->call(), theirs.sample);

    *switched = fault;
    const OwnedCall ours(0);
    check_throws<CollectiveError>([&] { broken->run(ours.sample->call(), ours.sample); }, text);
    check_throws<CollectiveError>([&] { outstanding.wait(); }, text);
    check_throws<CollectiveError>([&] { broken->run(ours.sample->call()); }, "cannot be used");
    broken->close();
    // Else it looks after the rank that was left alone.
    stop_progress();
}

const Test send_throws("engine: a transport that cannot send breaks its communicator", [] {
    check_fault(Fault::send_throws, "all_reduce (call 2: 5 x int32): the wire is cut");
});

const Test no_memory("engine: so does memory that runs out while a call starts", [] {
    check_fault(Fault::out_of_memory, "all_reduce (call 2: 5 x int32): std::bad_alloc");
});

const Test poll_throws("engine: a transport that fails altogether breaks its communicator",
                       [] { check_fault(Fault::poll_throws, "the card is gone"); });

const Test message_fails("engine: a message that fails breaks its communicator",
                         [] { check_fault(Fault::message_fails, "a bit has flipped"); });

const Test bad_calls("engine: a wrong call sends nothing and harms nothing", [] {
    const Ranks ranks(2);
    const SampleCall sample(all_reduce_of(5), 0);
    Call call = sample.call();
    call.algorithm = "telepathy";
    check_throws<std::invalid_argument>([&] { ranks[0].run(call); },
                                        "all_reduce has no algorithm 'telepathy'; there are: ");
    check_throws<std::invalid_argument>([&] { ranks[0].run(call); }, "recursive_doubling");
    call = sample.call();
    call.root = 2;
    check_throws<std::invalid_argument>([&] { ranks[0].run(call); }, "root 2 is outside [0, 2)");
    std::array<std::byte, 4> bytes{};
    check_throws<std::invalid_argument>([&] { (void)ranks[0].send(bytes, 2, 0, nullptr); },
                                        "peer 2 is not another rank of 2");
    check_throws<std::invalid_argument>([&] { (void)ranks[0].recv(bytes, 0, 0, nullptr); },
                                        "peer 0 is not another rank");
    check_throws<std::invalid_argument>(
        [&] { (void)ranks[0].recv(bytes, 1, ranks[0].user_tags(), nullptr); }, "is outside [0, ");
    check_works(ranks);
});

}  // namespace
}  // namespace pycoll::test::engine_failures
