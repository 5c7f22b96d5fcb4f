// Many operations outstanding at once, on several communicators, from several threads per rank.

#include <algorithm>
#include <array>
#include <memory>
#include <random>

#include "check.hpp"
#include "engine_ranks.hpp"
#include "engine_sample_call.hpp"

namespace pycoll::test::engine_overlap {
namespace {

constexpr int size = 4;

SampleCall::Shape random_shape(std::mt19937& random) {
    constexpr std::array collectives = {
        Collective::all_reduce, Collective::reduce,  Collective::broadcast,
        Collective::all_gather, Collective::gather,  Collective::reduce_scatter,
        Collective::scatter,    Collective::barrier, Collective::all_to_all,
    };
    SampleCall::Shape shape;
    shape.collective = collectives[random() % collectives.size()];
    shape.size = size;
    shape.count = shape.collective == Collective::barrier ? 0 : random() % 300;
    shape.root = static_cast<int>(random() % size);
    shape.in_place = random() % 2 == 0 && shape.collective != Collective::all_to_all;
    shape.dtype = random() % 2 == 0 ? DType::i32 : DType::u8;
    shape.chunk_bytes = random() % 2 == 0 ? 0 : 128;
    shape.seed = static_cast<int>(random() % 9);
    return shape;
}

/// An operation under way, with the memory it works on.
struct Outstanding {
    Work work;
    std::shared_ptr<SampleCall> sample;
};

/// Completes all, in an order of this rank's own, in one of the ways there are.
void complete(std::vector<Outstanding>& all, std::mt19937& random) {
    std::ranges::shuffle(all, random);
    for (Outstanding& one : all) {
        if (random() % 3 == 0) {
            while (!one.work.test()) std::this_thread::yield();
        } else {
            one.work.wait();
        }
        one.sample->check();
    }
}

/// What one thread of one rank does: collectives on a communicator of its own, of the same kinds
/// on all ranks, and messages from neighbour to neighbour on that one and on one that it shares.
void run_thread(Communicator& own, Communicator& shared, int thread, unsigned seed) {
    std::mt19937 kinds(seed + static_cast<unsigned>(thread));  // alike on all ranks
    std::mt19937 order(seed + 100 + static_cast<unsigned>(10 * own.rank() + thread));
    const int next = (own.rank() + 1) % size;
    const int previous = (own.rank() + size - 1) % size;
    std::vector<Outstanding> collectives;
    struct Message {
        Work send, recv;
        std::shared_ptr<std::array<int, 64>> sent, received;
        int expected;
    };
    std::vector<Message> messages;
    for (int i = 0; i < 25; ++i) {
        const auto sample = std::make_shared<SampleCall>(random_shape(kinds), own.rank());
        collectives.push_back({own.start(sample->call(), sample), sample});
        if (i % 2 != 0) continue;
        const auto sent = std::make_shared<std::array<int, 64>>();
        const auto received = std::make_shared<std::array<int, 64>>();
        sent->fill(1000 * own.rank() + 100 * thread + i);
        // Messages of a tag meet in order. No two threads use the same one, but a thread's own go
        // by the numbers of its collective calls.
        Communicator& used = i % 4 == 0 ? shared : own;
        const int tag = i % 4 == 0 ? thread : i;
        messages.push_back(
            {used.send(std::as_bytes(std::span(*sent)), next, tag, sent),
             used.recv(std::as_writable_bytes(std::span(*received)), previous, tag, received), sent,
             received, 1000 * previous + 100 * thread + i});
    }
    complete(collectives, order);
    std::ranges::shuffle(messages, order);
    for (Message& message : messages) {
        message.recv.wait();
        message.send.wait();
        check_equal(message.received->front(), message.expected, "first of the message");
        check_equal(message.received->back(), message.expected, "last of the message");
    }
}

void run_overlapped(const ThreadGroup::Options& network, const Nodes& nodes = {}) {
    const std::array<Ranks, 3> ranks = {Ranks(size, network, {}, nodes),
                                        Ranks(size, network, {}, nodes),
                                        Ranks(size, network, {}, nodes)};
    on_ranks(2 * size, [&](int index) {
        const int rank = index / 2;
        const int thread = index % 2;
        run_thread(ranks[static_cast<std::size_t>(thread)][rank], ranks[2][rank], thread,
                   static_cast<unsigned>(network.seed));
    });
}

const Test overlap("engine: 50 collectives and 52 messages a rank outstanding on 3 communicators",
                   [] {
                       run_overlapped({.seed = 11, .max_delay_polls = 0, .rendezvous = 0.5});
                       run_overlapped({.seed = 12, .max_delay_polls = 10, .rendezvous = 1});
                       run_overlapped({.seed = 13, .max_delay_polls = 3, .rendezvous = 0});
                   });

const Test overlap_on_nodes("engine: the same between ranks that share memory, all or some", [] {
    run_overlapped({.seed = 14, .max_delay_polls = 3}, {size});
    run_overlapped({.seed = 15, .max_delay_polls = 3}, {1, 3});
});

void run_with_few_tags(int tags, const Nodes& nodes) {
    const Ranks ranks(size, {.seed = 21, .max_delay_polls = 5, .tag_count = tags}, {}, nodes);
    on_ranks(size, [&](int rank) {
        std::mt19937 random(3);
        std::vector<Outstanding> all;
        for (int i = 0; i < 30; ++i) {
            const auto sample = std::make_shared<SampleCall>(random_shape(random), rank);
            all.push_back({ranks[rank].start(sample->call(), sample), sample});
        }
        complete(all, random);
    });
}

const Test few_tags("engine: tags come round while earlier calls are outstanding", [] {
    for (const Nodes& nodes : {Nodes{}, Nodes{size}, Nodes{2, 2}}) {
        for (const int tags : {2, 3, 8}) run_with_few_tags(tags, nodes);
    }
});

const Test too_few_tags("engine: a communicator needs a tag for collectives and one for the user",
                        [] {
                            const ThreadGroup group(1, {.tag_count = 1});
                            check_throws<std::invalid_argument>(
                                [&] { Communicator(group.transport(0), Communicator::Options{}); },
                                "needs two tags");
                        });

void share_work(const Nodes& nodes) {
    const Ranks ranks(2, {.seed = 31, .max_delay_polls = 5}, {}, nodes);
    on_ranks(2, [&](int rank) {
        std::vector<Outstanding> all;
        std::mt19937 random(4);
        for (int i = 0; i < 40; ++i) {
            auto shape = random_shape(random);
            shape.size = 2;
            shape.root %= 2;
            const auto sample = std::make_shared<SampleCall>(shape, rank);
            all.push_back({ranks[rank].start(sample->call(), sample), sample});
        }
        // Every thread waits for every operation.
        on_ranks(3, [&](int thread) {
            std::mt19937 order(static_cast<unsigned>(thread));
            std::vector<Outstanding> mine = all;
            complete(mine, order);
        });
    });
}

const Test shared_by_threads("engine: threads that wait for one communicator share the work", [] {
    share_work({});
    share_work({2});
});

}  // namespace
}  // namespace pycoll::test::engine_overlap
