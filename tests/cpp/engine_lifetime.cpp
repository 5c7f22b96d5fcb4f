// Who keeps what alive: communicators, operations, the caller's memory, the progress thread.

#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <latch>

#include "check.hpp"
#include "engine/progress.hpp"
#include "engine_ranks.hpp"
#include "engine_sample_call.hpp"

namespace pycoll::test {
namespace {

SampleCall::Shape broadcast_of(std::uint64_t count) {
    return {.collective = Collective::broadcast, .size = 2, .count = count,
            .algorithm = "binomial"};
}

/// The arrays of a call, say; tells when, and by which thread, they were let go of.
struct Arrays {
    std::promise<std::thread::id> released;
    std::shared_ptr<void> hold() {
        return {this, [](Arrays* arrays) { arrays->released.set_value(std::this_thread::get_id()); }};
    }
};

const Test waiter_releases("engine: the thread that waited lets go of the arrays", [] {
    const Ranks ranks(2);
    on_ranks(2, [&](int rank) {
        const SampleCall sample(broadcast_of(50), rank);
        Arrays arrays;
        auto released = arrays.released.get_future();
        Work work = ranks[rank].start(sample.call(), arrays.hold());
        work.wait();
        check(released.get() == std::this_thread::get_id(), "another thread let go of them");
        work.wait();  // changes nothing
        check(work.test(), "done, but not done");
        sample.check();
    });
});

const Test failed_arguments("engine: a call that was refused lets go of the arrays at once", [] {
    const Ranks ranks(2);
    SampleCall::Shape shape = broadcast_of(50);
    shape.algorithm = "telepathy";
    const SampleCall sample(shape, 0);
    Arrays arrays;
    check_throws<std::invalid_argument>(
        [&] { (void)ranks[0].start(sample.call(), arrays.hold()); }, "telepathy");
    arrays.released.get_future().get();
});

const Test dropped("engine: an operation whose handle was dropped completes by itself", [] {
    const Ranks ranks(2, {.rendezvous = 1});
    on_ranks(2, [&](int rank) {
        const SampleCall sample(broadcast_of(50), rank);
        Arrays arrays;
        auto released = arrays.released.get_future();
        (void)ranks[rank].start(sample.call(), arrays.hold());
        released.get();  // nobody waits in the engine
        sample.check();
    });
});

const Test dropped_messages("engine: so do messages", [] {
    const Ranks ranks(2, {.rendezvous = 1});
    on_ranks(2, [&](int rank) {
        std::array<std::byte, 4> bytes{};
        Arrays arrays;
        auto released = arrays.released.get_future();
        if (rank == 0) {
            (void)ranks[0].send(bytes, 1, 0, arrays.hold());
        } else {
            (void)ranks[1].recv(bytes, 0, 0, arrays.hold());
        }
        released.get();
    });
});

const Test dropped_communicator("engine: so does one whose communicator was dropped", [] {
    ThreadGroup group(2, {.rendezvous = 1});
    std::array<Arrays, 2> arrays;
    const SampleCall root(broadcast_of(50), 0);
    const SampleCall other(broadcast_of(50), 1);
    for (int rank = 0; rank < 2; ++rank) {
        const auto communicator =
            std::make_shared<Communicator>(group.transport(rank), Communicator::Options{});
        (void)communicator->start((rank == 0 ? root : other).call(),
                                  arrays[static_cast<std::size_t>(rank)].hold());
    }
    for (Arrays& held : arrays) held.released.get_future().get();
    other.check();
});

/// Tells when it is destroyed; for one thread at a time.
class MortalTransport final : public Transport {
public:
    MortalTransport(std::unique_ptr<Transport> inner, std::promise<void> died, bool any_thread)
        : inner_(std::move(inner)), died_(std::move(died)), any_thread_(any_thread) {}
    ~MortalTransport() override { died_.set_value(); }

    [[nodiscard]] int rank() const override { return inner_->rank(); }
    [[nodiscard]] int size() const override { return inner_->size(); }
    [[nodiscard]] int tag_count() const override { return inner_->tag_count(); }
    [[nodiscard]] std::string name() const override { return "mortal"; }
    [[nodiscard]] bool any_thread() const override { return any_thread_; }
    void send(int peer, int tag, std::span<const std::byte> bytes, Token token) override {
        inner_->send(peer, tag, bytes, token);
    }
    void recv(int peer, int tag, std::span<std::byte> bytes, Token token) override {
        inner_->recv(peer, tag, bytes, token);
    }
    void poll(std::vector<Completion>& completions) override { inner_->poll(completions); }

private:
    std::unique_ptr<Transport> inner_;
    std::promise<void> died_;
    bool any_thread_;
};

const Test idle_is_forgotten("engine: the progress thread lets go of idle communicators", [] {
    ThreadGroup group(2, {});
    std::array<std::future<void>, 2> died;
    on_ranks(2, [&](int rank) {
        std::promise<void> death;
        died[static_cast<std::size_t>(rank)] = death.get_future();
        const auto communicator = std::make_shared<Communicator>(
            std::make_unique<MortalTransport>(group.transport(rank), std::move(death), true),
            Communicator::Options{});
        const SampleCall sample(broadcast_of(50), rank);
        communicator->start(sample.call(), nullptr).wait();
    });
    for (auto& death : died) death.get();
});

const Test waited_for_is_not_idle("engine: what somebody waits for is not taken for idle", [] {
    const Ranks ranks(2, {.rendezvous = 1});
    const SampleCall root(broadcast_of(50), 0);
    const SampleCall other(broadcast_of(50), 1);
    Work work = ranks[0].start(root.call(), nullptr);
    std::latch waiting(1);
    on_ranks(2, [&](int thread) {
        if (thread == 1) {
            waiting.count_down();
            work.wait();
            return;
        }
        waiting.wait();
        for (int i = 0; i < 1000; ++i) {
            check(ranks[0].help() != Communicator::Help::idle, "idle, but not done");
            std::this_thread::yield();
        }
        ranks[1].run(other.call());
    });
    other.check();
});

const Test close_frees("engine: close() gives the transport back", [] {
    ThreadGroup group(1, {});
    std::promise<void> death;
    auto died = death.get_future();
    const auto communicator = std::make_shared<Communicator>(
        std::make_unique<MortalTransport>(group.transport(0), std::move(death), true),
        Communicator::Options{});
    communicator->close();
    died.get();
    communicator->close();
    check(communicator->closed(), "closed, but not closed");
    check_throws<CollectiveError>([&] { communicator->run({}); },
                                  "rank 0: this communicator is closed");
});

const Test nothing_lingers("engine: a call that sends nothing is over when it returns", [] {
    const Ranks ranks(1, {}, {.timeout = std::chrono::nanoseconds(1)});
    const SampleCall sample({.collective = Collective::all_reduce, .size = 1, .count = 10}, 0);
    for (int i = 0; i < 3; ++i) ranks[0].run(sample.call());  // long after its deadline
    check(ranks[0].start(sample.call(), nullptr).test(), "done, but not done");
    check(ranks[0].help() == Communicator::Help::idle, "something is outstanding");
    sample.check();
    ranks[0].close();
});

const Test close_waits("engine: close() waits for what is outstanding, and refuses more", [] {
    const Ranks ranks(2, {.rendezvous = 1});
    std::latch closing(1);
    on_ranks(2, [&](int rank) {
        const SampleCall sample(broadcast_of(50), rank);
        if (rank == 0) {
            Work work = ranks[0].start(sample.call(), nullptr);
            std::jthread closer([&] { ranks[0].close(); });
            while (!ranks[0].closed()) std::this_thread::yield();
            check_throws<CollectiveError>([&] { ranks[0].run(sample.call()); }, "is closed");
            closing.count_down();
            ranks[0].close();
            check(work.test(), "close() did not wait");
        } else {
            closing.wait();
            ranks[1].run(sample.call());
        }
        sample.check();
    });
});

const Test close_gives_up("engine: close() gives up at the deadline of what is outstanding", [] {
    const Ranks ranks(2, {}, {.timeout = std::chrono::milliseconds(20)});
    const auto sample = std::make_shared<SampleCall>(broadcast_of(50), 1);
    Work work = ranks[1].start(sample->call(), sample);
    ranks[1].close();
    check_throws<TimeoutError>([&] { work.wait(); }, "waiting for a message from rank 0");
});

const Test abandoned("engine: memory of a communicator destroyed too early is never freed", [] {
    ThreadGroup group(2, {.rendezvous = 1});
    std::weak_ptr<void> memory;
    {
        const auto sample = std::make_shared<SampleCall>(broadcast_of(50), 0);
        memory = sample;
        const auto communicator = std::make_shared<Communicator>(
            std::make_unique<MortalTransport>(group.transport(0), std::promise<void>(), false),
            Communicator::Options{});
        (void)communicator->start(sample->call(), sample);
        stop_progress();  // else it lives until somebody has helped it along
    }
    check(!memory.expired(), "memory was freed that a message is under way from");
    const auto other =
        std::make_shared<Communicator>(group.transport(1), Communicator::Options{});
    const SampleCall sample(broadcast_of(50), 1);
    other->run(sample.call());
    sample.check();
});

const Test single_threads("engine: whoever waits helps the other communicators along", [] {
    // Rank 0 waits on the first communicator, rank 1 on the second first; no progress thread.
    ThreadGroup first(2, {.rendezvous = 1});
    ThreadGroup second(2, {.rendezvous = 1});
    on_ranks(2, [&](int rank) {
        const auto make = [&](ThreadGroup& group) {
            return std::make_shared<Communicator>(
                std::make_unique<MortalTransport>(group.transport(rank), std::promise<void>(),
                                                  false),
                Communicator::Options{.oversubscribed = true});
        };
        const auto a = make(first);
        const auto b = make(second);
        SampleCall::Shape shape{.collective = Collective::all_reduce, .size = 2, .count = 100,
                                .algorithm = "ring"};
        const SampleCall on_a(shape, rank);
        const SampleCall on_b(shape, rank);
        Work work = b->start(on_b.call(), nullptr);
        if (rank == 0) {
            a->run(on_a.call());
            work.wait();
        } else {
            work.wait();
            a->run(on_a.call());
        }
        on_a.check();
        on_b.check();
    });
});

const Test restarts("engine: the progress thread may be stopped and started at any time", [] {
    const Ranks ranks(2, {.rendezvous = 1});
    std::atomic<bool> over = false;
    std::jthread stopper([&] {
        while (!over) stop_progress();
    });
    on_ranks(2, [&](int rank) {
        for (int round = 0; round < 50; ++round) {
            const SampleCall sample(broadcast_of(50), rank);
            ranks[rank].start(sample.call(), nullptr).wait();
            sample.check();
        }
    });
    over = true;
});

const Test forked("engine: a forked child ends in peace", [] {
    const Ranks ranks(2, {.rendezvous = 1});
    const auto bytes = std::make_shared<std::array<std::byte, 4>>();
    Work work = ranks[0].recv(*bytes, 1, 0, bytes);
    const pid_t child = fork();
    if (child == 0) {
        // What happens at exit, where this would wait for a thread that the child does not have.
        stop_progress();
        _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child failed");
    ranks[1].send(*bytes, 0, 0, bytes).wait();
    work.wait();
});

}  // namespace
}  // namespace pycoll::test
