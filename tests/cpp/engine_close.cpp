// Closing a communicator.

#include <chrono>
#include <future>
#include <latch>
#include <memory>
#include <thread>

#include "check.hpp"
#include "engine_mortal_transport.hpp"
#include "engine_ranks.hpp"
#include "engine_sample_call.hpp"

namespace pycoll::test::engine_close {
namespace {

SampleCall::Shape broadcast_of(std::uint64_t count) {
    return {
        .collective = Collective::broadcast, .size = 2, .count = count, .algorithm = "binomial"};
}

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

}  // namespace
}  // namespace pycoll::test::engine_close
