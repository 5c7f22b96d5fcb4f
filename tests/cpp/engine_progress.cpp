// The progress thread, and threads that do its work while they wait.

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <future>
#include <latch>
#include <memory>
#include <thread>

#include "check.hpp"
#include "engine/progress.hpp"
#include "engine_mortal_transport.hpp"
#include "engine_ranks.hpp"
#include "engine_sample_call.hpp"

namespace pycoll::test::engine_progress {
namespace {

SampleCall::Shape broadcast_of(std::uint64_t count) {
    return {
        .collective = Collective::broadcast, .size = 2, .count = count, .algorithm = "binomial"};
}

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
        SampleCall::Shape shape{
            .collective = Collective::all_reduce, .size = 2, .count = 100, .algorithm = "ring"};
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
}  // namespace pycoll::test::engine_progress
