// Who keeps the caller's memory, operations and communicators alive.

#include <array>
#include <future>
#include <memory>
#include <thread>

#include "check.hpp"
#include "engine/progress.hpp"
#include "engine_mortal_transport.hpp"
#include "engine_ranks.hpp"
#include "engine_sample_call.hpp"

namespace pycoll::test::engine_lifetime {
namespace {

SampleCall::Shape broadcast_of(std::uint64_t count) {
    return {
        .collective = Collective::broadcast, .size = 2, .count = count, .algorithm = "binomial"};
}

/// The arrays of a call, say; tells when, and by which thread, they were let go of.
struct Arrays {
    std::promise<std::thread::id> released;
    std::shared_ptr<void> hold() {
        return {this,
                [](Arrays* arrays) { arrays->released.set_value(std::this_thread::get_id()); }};
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
    check_throws<std::invalid_argument>([&] { (void)ranks[0].start(sample.call(), arrays.hold()); },
                                        "telepathy");
    arrays.released.get_future().get();
});

void check_dropped(const Nodes& nodes, const SampleCall::Shape& shape) {
    const Ranks ranks(2, {.rendezvous = 1}, {}, nodes);
    on_ranks(2, [&](int rank) {
        const SampleCall sample(shape, rank);
        Arrays arrays;
        auto released = arrays.released.get_future();
        (void)ranks[rank].start(sample.call(), arrays.hold());
        released.get();  // nobody waits in the engine
        sample.check();
    });
}

const Test dropped("engine: an operation whose handle was dropped completes by itself", [] {
    check_dropped({}, broadcast_of(50));
    check_dropped({2}, broadcast_of(50));
    for (const std::string name : {"one_shot", "staged", "direct"}) {
        SampleCall::Shape shape = broadcast_of(50);
        shape.algorithm = name;
        shape.registered = true;
        check_dropped({2}, shape);
    }
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
    const auto other = std::make_shared<Communicator>(group.transport(1), Communicator::Options{});
    const SampleCall sample(broadcast_of(50), 1);
    other->run(sample.call());
    sample.check();
});

}  // namespace
}  // namespace pycoll::test::engine_lifetime
