#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "algorithms_call.hpp"
#include "check.hpp"
#include "schedule/verify.hpp"

namespace pycoll::test::algorithms_proven {
namespace {

/// Up to here everything is tried with everything.
constexpr int small_size = 9;

constexpr int largest_size = 64;

bool is_blockwise(Collective collective) {
    return collective != Collective::all_reduce && collective != Collective::reduce &&
           collective != Collective::broadcast;
}

std::vector<std::uint64_t> counts(int size) {
    const auto ranks = static_cast<std::uint64_t>(size);
    std::vector<std::uint64_t> all = {0, 1, ranks - 1, ranks, ranks + 1, 1000};
    std::ranges::sort(all);
    const auto repeated = std::ranges::unique(all);
    all.erase(repeated.begin(), repeated.end());
    return all;
}

/// Elements of the longest step: chunks of at least as many change nothing.
std::uint64_t longest_step(const WholeCall& call) {
    std::uint64_t longest = 0;
    for (const Schedule& schedule : call.schedules) {
        for (const Step& step : schedule.steps) {
            longest =
                std::max({longest, step.dst.count, step.srcs.empty() ? 0 : step.srcs[0].count});
        }
    }
    return longest;
}

/// Chunks that cut the longest step into two; where it is the whole vector, into more than a tree
/// has scratch for at a time (8); and for few ranks, into single elements. The last chunk is mostly
/// shorter.
std::vector<std::uint64_t> chunks(const Request& request, std::uint64_t longest) {
    std::vector<std::uint64_t> all = {longest / 2 + 1};
    if (request.size <= small_size) {
        for (const std::uint64_t chunk : std::vector<std::uint64_t>{1, 3, 64}) all.push_back(chunk);
    } else if (longest == request.count && !is_blockwise(request.collective)) {
        all.push_back(longest / 11 + 1);
    }
    constexpr std::uint64_t most_chunks = 150;
    std::erase_if(all, [&](std::uint64_t chunk) {
        return chunk >= longest || longest / chunk > most_chunks;
    });
    return all;
}

/// Nothing that many ranks do is new but for their number: beyond this size the roots, places and
/// cuts take turns, in every combination over the sizes up to the largest. That takes two thirds of
/// the time.
constexpr int largest_size_all_ways = 16;

bool takes_turns(int size) { return size > largest_size_all_ways; }

/// `turn` is any number.
std::vector<int> roots(const Algorithm& algorithm, int size, std::size_t turn) {
    if (!rooted(algorithm.collective)) return {0};
    if (takes_turns(size)) {
        const std::array some = {0, 1, size / 2, size - 1};
        return {some[(turn + static_cast<std::size_t>(size) / 4) % some.size()]};
    }
    if (size > small_size) return {0, size / 2, size - 1};
    std::vector<int> all;
    for (int root = 0; root < size; ++root) all.push_back(root);
    return all;
}

void prove(const Algorithm& algorithm, const WholeCall& call) {
    const auto failure = verify(call.requests, call.schedules);
    check(!failure,
          name_of(algorithm) + ", " + describe(call.requests[0]) + ": " + failure.value_or(""));
}

/// Proves a call out of place, in place and, for few ranks, with every other rank in place, each
/// uncut and in chunks. `turn` is any number.
void prove_all_ways(const Algorithm& algorithm, const Request& shared, std::size_t turn) {
    std::vector<std::vector<bool>> places = {{false}};
    if (can_run_in_place(algorithm.collective)) {
        places.push_back({true});
        if (shared.size <= small_size && !rooted(algorithm.collective)) {
            places.push_back({true, false});
        }
    }
    const auto call = [&](const std::vector<bool>& in_place, std::uint64_t chunk) {
        std::vector<Request> requests;
        for (int rank = 0; rank < shared.size; ++rank) {
            requests.push_back(shared);
            requests.back().rank = rank;
            requests.back().chunk = chunk;
            requests.back().in_place = in_place[static_cast<std::size_t>(rank) % in_place.size()];
        }
        return call_of_ranks(algorithm, std::move(requests));
    };
    // Apart, as in place the longest block may be one that stays where it is.
    std::vector<std::uint64_t> cuts = chunks(shared, longest_step(call({false}, 0)));
    cuts.insert(cuts.begin(), 0);
    if (takes_turns(shared.size)) {
        const std::size_t size_and_turn = static_cast<std::size_t>(shared.size) + turn;
        places = {places[size_and_turn % places.size()]};
        cuts = {cuts[(size_and_turn + turn) / 2 % cuts.size()]};
    }
    for (const std::vector<bool>& in_place : places) {
        for (const std::uint64_t chunk : cuts) prove(algorithm, call(in_place, chunk));
    }
}

void prove_counts(const Algorithm& algorithm) {
    for (int size = 1; size <= largest_size; ++size) {
        std::size_t turn = 0;
        for (const std::uint64_t count : counts(size)) {
            for (const int root : roots(algorithm, size, turn)) {
                prove_all_ways(algorithm,
                               {.collective = algorithm.collective,
                                .size = size,
                                .count = count,
                                .root = root},
                               turn);
            }
            ++turn;
        }
    }
}

/// Uneven blocks: some empty, all but one empty, all empty, one far larger than the others.
std::vector<std::vector<std::uint64_t>> uneven_counts(int size) {
    std::vector<std::vector<std::uint64_t>> all(4);
    for (int i = 0; i < size; ++i) {
        all[0].push_back(static_cast<std::uint64_t>((i * 7 + 3) % 5));
        all[1].push_back(i == size / 2 ? 11 : 0);
        all[2].push_back(0);
        all[3].push_back(i == size - 1 ? 1000 : static_cast<std::uint64_t>(1 + i % 3));
    }
    return all;
}

void prove_uneven_blocks(const Algorithm& algorithm) {
    for (int size = 1; size <= largest_size; ++size) {
        std::size_t turn = 0;
        for (const auto& blocks : uneven_counts(size)) {
            for (const int root : roots(algorithm, size, turn)) {
                prove_all_ways(algorithm,
                               {.collective = algorithm.collective,
                                .size = size,
                                .root = root,
                                .counts = blocks},
                               turn);
            }
            ++turn;
        }
    }
}

/// Rank `from` has this many elements for rank `to`: none for some, many for few.
std::uint64_t uneven_traffic(int from, int to) {
    return (from + to) % 11 == 10 ? 40 : static_cast<std::uint64_t>((from * 3 + to * 5) % 4);
}

void prove_uneven_all_to_all(const Algorithm& algorithm) {
    for (int size = 1; size <= largest_size; ++size) {
        for (const std::uint64_t chunk : std::vector<std::uint64_t>{0, 3}) {
            std::vector<Request> requests;
            for (int rank = 0; rank < size; ++rank) {
                Request request{.collective = Collective::all_to_all,
                                .rank = rank,
                                .size = size,
                                .chunk = chunk};
                for (int peer = 0; peer < size; ++peer) {
                    request.counts.push_back(uneven_traffic(rank, peer));
                    request.recv_counts.push_back(uneven_traffic(peer, rank));
                }
                requests.push_back(std::move(request));
            }
            prove(algorithm, call_of_ranks(algorithm, std::move(requests)));
        }
    }
}

/// One test per algorithm, so that a failure and the time taken say which.
std::deque<Test> register_proofs() {
    static std::deque<std::string> names;
    std::deque<Test> tests;
    for (const Algorithm& algorithm : algorithms()) {
        names.push_back(name_of(algorithm) + " is proven for 1 to 64 ranks");
        tests.emplace_back(names.back(), [&algorithm] { prove_counts(algorithm); });
        if (!algorithm.takes_counts) continue;
        names.push_back(name_of(algorithm) + " is proven for uneven and empty blocks");
        tests.emplace_back(names.back(), [&algorithm] {
            if (algorithm.collective == Collective::all_to_all) {
                prove_uneven_all_to_all(algorithm);
            } else {
                prove_uneven_blocks(algorithm);
            }
        });
    }
    return tests;
}

const std::deque<Test> proofs = register_proofs();

}  // namespace
}  // namespace pycoll::test::algorithms_proven
