// Ranks that share a node's memory: wherever each of them keeps its arrays, and whatever came
// before on the same stages, a call computes what a plain loop does.

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include "algorithms/algorithms.hpp"
#include "check.hpp"
#include "cma_allowed.hpp"
#include "engine_pauses.hpp"
#include "engine_ranks.hpp"
#include "engine_sample_call.hpp"
#include "sanitized.hpp"

namespace pycoll::test::engine_shared_memory {
namespace {

/// Which ranks do something that is each rank's own business.
enum class Who : std::uint8_t { nobody, all, every_other, all_but_one };

constexpr std::array everybody = {Who::nobody, Who::all, Who::every_other, Who::all_but_one};

bool is_among(Who who, int rank, int size) {
    switch (who) {
        case Who::nobody:
            return false;
        case Who::all:
            return true;
        case Who::every_other:
            return rank % 2 == 0;
        case Who::all_but_one:
            return rank != size / 2;
    }
    return false;
}

/// A call, and who has its arrays where.
struct Mixture {
    SampleCall::Shape shape;
    Who registered;
    Who in_place;

    [[nodiscard]] SampleCall of(int rank) const {
        SampleCall::Shape own = shape;
        own.registered = is_among(registered, rank, own.size);
        own.in_place =
            own.collective != Collective::all_to_all && is_among(in_place, rank, own.size);
        return {own, rank};
    }
};

/// Chunks of so few bytes that a call takes many rounds through the stages.
constexpr std::uint64_t short_chunk = 64;

std::vector<Mixture> mixtures(Collective collective, const std::string& algorithm, int size) {
    std::vector<Mixture> all;
    const auto ranks = static_cast<std::uint64_t>(size);
    for (const std::uint64_t count : {std::uint64_t{0}, ranks - 1, std::uint64_t{301}}) {
        for (const int root : {0, size - 1}) {
            if (root > 0 && !rooted(collective)) continue;
            for (const Who registered : everybody) {
                for (const Who in_place : {Who::nobody, Who::all, Who::every_other}) {
                    const auto number = static_cast<int>(all.size());
                    const bool is_short = number % 2 == 0;
                    all.push_back({{.collective = collective,
                                    .size = size,
                                    .count = collective == Collective::barrier ? 0 : count,
                                    .root = root,
                                    .dtype = number % 3 == 0 ? DType::u8 : DType::f32,
                                    .algorithm = algorithm,
                                    .chunk_bytes = is_short ? short_chunk : 0,
                                    .seed = number},
                                   registered,
                                   in_place});
                }
            }
        }
    }
    return all;
}

bool has_algorithm(Collective collective, std::string_view name) {
    if (name == "auto") return true;
    for (const Algorithm& algorithm : algorithms()) {
        if (algorithm.collective == collective && algorithm.name == name) return true;
    }
    return false;
}

/// Of ranks on one node, between whose plain arrays the kernel copies, if it may.
const Communicator::Options with_cma{.copies_across = is_cma_allowed()};

void run_mixtures(int size, const Communicator::Options& options,
                  const std::vector<std::string>& names) {
    const Ranks ranks(size, {}, options, {size});
    on_ranks(size, [&](int rank) {
        for (std::size_t c = 0; c < collective_names.size(); ++c) {
            const auto collective = static_cast<Collective>(c);
            for (const std::string& name : names) {
                if (!has_algorithm(collective, name)) continue;
                for (const Mixture& mixture : mixtures(collective, name, size)) {
                    const SampleCall sample = mixture.of(rank);
                    ranks[rank].run(sample.call());
                    sample.check();
                }
            }
        }
    });
}

const Test mixed("shared memory: every mixture of registered and plain, in place and not", [] {
    for (int size = 1; size <= 8; ++size) {
        if (is_sanitized && size > 3) continue;
        run_mixtures(size, {}, {"auto", "one_shot", "staged", "direct"});
    }
});

const Test mixed_across("shared memory: the same where the kernel copies what is plain", [] {
    for (int size = 2; size <= 8; ++size) {
        if (is_sanitized && size != 3) continue;
        run_mixtures(size, with_cma, {"auto", "direct"});
    }
});

/// Alike on all ranks, of which all have the same random numbers.
Mixture random_mixture(std::mt19937& random, int size) {
    constexpr std::array names = {"auto", "one_shot", "staged", "direct", "auto", "ring"};
    constexpr std::array<std::uint64_t, 6> counts = {0, 1, 7, 100, 1000, 20'000};
    Mixture mixture;
    auto& shape = mixture.shape;
    shape.collective = static_cast<Collective>(random() % collective_names.size());
    shape.size = size;
    shape.count = shape.collective == Collective::barrier ? 0 : counts[random() % counts.size()];
    shape.root = static_cast<int>(random() % static_cast<unsigned>(size));
    shape.dtype = random() % 2 == 0 ? DType::i32 : DType::u8;
    shape.algorithm = names[random() % names.size()];
    const bool fits = shape.algorithm != "one_shot" || shape.count <= 1000;
    if (!fits || !has_algorithm(shape.collective, shape.algorithm)) shape.algorithm = "auto";
    shape.chunk_bytes = random() % 2 == 0 ? 0 : 4096;
    shape.seed = static_cast<int>(random() % 9);
    mixture.registered = everybody[random() % everybody.size()];
    mixture.in_place = everybody[random() % everybody.size()];
    return mixture;
}

void run_at_random(const Ranks& ranks, int rank, unsigned seed, int calls) {
    std::mt19937 random(seed);
    for (int i = 0; i < calls; ++i) {
        const SampleCall sample = random_mixture(random, ranks.size()).of(rank);
        ranks[rank].run(sample.call());
        sample.check();
    }
}

const Test in_a_row("shared memory: any call may follow any other on the same stages", [] {
    for (const int size : {2, 3, 6}) {
        const Ranks ranks(size, {}, size == 3 ? with_cma : Communicator::Options{}, {size});
        on_ranks(size, [&](int rank) { run_at_random(ranks, rank, 1, is_sanitized ? 60 : 600); });
    }
});

const Test disturbed("shared memory: ranks that stop anywhere at any time change no result", [] {
    constexpr int size = 4;
    Pauses pauses(1);
    for (const Communicator::Options& options : {Communicator::Options{}, with_cma}) {
        const Ranks ranks(size, {}, options, {size});
        on_ranks(size, [&](int rank) {
            const Pauses::Here here(pauses);
            run_at_random(ranks, rank, 2, is_sanitized ? 60 : 500);
        });
    }
});

const Test out_of_reach("shared memory: what the kernel cannot copy is an error of the call", [] {
    if (!is_cma_allowed()) return;
    constexpr std::size_t bytes = std::size_t{1} << 20;
    void* const nothing = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::vector<std::byte> array(bytes);
    const Ranks ranks(2, {}, with_cma, {2});
    on_ranks(2, [&](int rank) {
        void* const data = rank == 0 ? nothing : array.data();
        check_throws<CollectiveError>(
            [&] {
                ranks[rank].run({.collective = Collective::broadcast,
                                 .count = bytes,
                                 .input = data,
                                 .output = data,
                                 .algorithm = "direct"});
            },
            rank == 0 ? "array of this rank (Bad address); if it is memory of a device, set"
                      : "array of rank 0 (Bad address); if it is memory of a device, set");
    });
    munmap(nothing, bytes);
});

const Test longer_than_stages("shared memory: arrays that fill the stages several times", [] {
    constexpr int size = 3;
    const Ranks ranks(size, {}, {}, {size});
    on_ranks(size, [&](int rank) {
        for (std::size_t c = 0; c < collective_names.size(); ++c) {
            const auto collective = static_cast<Collective>(c);
            if (!has_algorithm(collective, "staged")) continue;
            for (const std::uint64_t chunk_bytes : {std::uint64_t{0}, std::uint64_t{1} << 30}) {
                if (is_sanitized && chunk_bytes > 0) continue;
                const SampleCall sample({.collective = collective,
                                         .size = size,
                                         .count = 5 * SharedNode::stage_bytes / 4 / 8 + 1,
                                         .root = 1,
                                         .dtype = DType::i64,
                                         .algorithm = "staged",
                                         .chunk_bytes = chunk_bytes},
                                        rank);
                ranks[rank].run(sample.call());
                sample.check();
            }
        }
    });
});

const Test too_long_for_slots("shared memory: what does not fit a slot is refused on every rank",
                              [] {
                                  const Ranks ranks(2, {}, {}, {2});
                                  for (int rank = 0; rank < 2; ++rank) {
                                      SampleCall::Shape shape{.collective = Collective::all_reduce,
                                                              .size = 2,
                                                              .count = SharedNode::slot_bytes,
                                                              .dtype = DType::u8,
                                                              .algorithm = "one_shot"};
                                      const SampleCall fits(shape, rank);
                                      (void)ranks[rank].chosen(fits.call(), true);
                                      ++shape.count;
                                      const SampleCall more(shape, rank);
                                      check_throws<std::invalid_argument>(
                                          [&] { ranks[rank].run(more.call()); },
                                          "'one_shot' takes at most 262144 bytes");
                                  }
                              });

const Test across_nodes("shared memory: algorithms of one node are refused on several", [] {
    const Ranks ranks(3, {}, {}, {2, 1});
    for (const std::string name : {"one_shot", "staged", "direct"}) {
        const SampleCall sample(
            {.collective = Collective::all_reduce, .size = 3, .count = 5, .algorithm = name}, 0);
        check_throws<std::invalid_argument>([&] { ranks[0].run(sample.call()); },
                                            "needs ranks that share memory");
    }
});

/// An operation under way, with the memory it works on.
struct Outstanding {
    Work work;
    std::shared_ptr<SampleCall> sample;
};

const Test wrong_nodes("shared memory: nodes and neighbours that contradict are refused", [] {
    const ThreadGroup group(3, {});
    const auto refuse = [&](std::vector<int> nodes, bool has_neighbours, std::string_view part) {
        Communicator::Options options;
        options.nodes = std::move(nodes);
        std::unique_ptr<Neighbours> neighbours;
        if (has_neighbours) {
            // Ranks 0 and 1 of the three.
            const std::vector<pid_t> processes(2, getpid());
            neighbours = std::make_unique<Neighbours>(
                std::make_unique<SharedNode>(node_memory(2), 1, processes), std::vector{0, 1}, 3);
        }
        check_throws<std::invalid_argument>(
            [&] { Communicator(group.transport(1), options, std::move(neighbours)); }, part);
    };
    refuse({0, 0, 1}, false, "rank 1: the ranks are on several nodes, but there are no neighbours");
    refuse({0, 0}, true, "rank 1: the nodes of 2 ranks are given, and there are 3");
    refuse({0, 1, 1}, true,
           "rank 1: rank 0 is on node 0, this rank on node 1, but the neighbours say otherwise");
    refuse({0, 0, 0}, true,
           "rank 1: rank 2 is on node 0, this rank on node 0, but the neighbours say otherwise");
});

const Test in_flight("shared memory: many calls in flight on two communicators, in any order", [] {
    constexpr int size = 4;
    const std::array<Ranks, 2> ranks = {Ranks(size, {}, {}, {size}), Ranks(size, {}, {}, {size})};
    on_ranks(size, [&](int rank) {
        std::mt19937 order(static_cast<unsigned>(rank) + 100);
        for (int round = 0; round < (is_sanitized ? 3 : 10); ++round) {
            std::vector<Outstanding> all;
            // Odd ranks start on the second communicator.
            for (int turn = 0; turn < 2; ++turn) {
                const auto number = static_cast<std::size_t>((rank + turn) % 2);
                std::mt19937 random(static_cast<unsigned>(2 * round) +
                                    static_cast<unsigned>(number));
                for (int i = 0; i < 10; ++i) {
                    const auto sample =
                        std::make_shared<SampleCall>(random_mixture(random, size).of(rank));
                    all.push_back({ranks[number][rank].start(sample->call(), sample), sample});
                }
            }
            std::ranges::shuffle(all, order);
            for (Outstanding& one : all) {
                if (order() % 3 == 0) {
                    while (!one.work.test()) std::this_thread::yield();
                } else {
                    one.work.wait();
                }
                one.sample->check();
            }
        }
    });
});

}  // namespace
}  // namespace pycoll::test::engine_shared_memory
