// Bruck: ceil(log2 p) rounds for any number of ranks. All-gather: in round k a rank passes all
// blocks it holds 2^k ranks back. All-to-all: the block for the rank i ahead travels by the binary
// digits of i, in round k 2^k ranks ahead, packed with all others that take this hop.
//
// Cost: log2 p alpha + (p-1)/p N beta for the all-gather, log2 p (alpha + N/2 beta) for the
// all-to-all, plus local copies: the fewest messages there can be.
// Source: Bruck, Ho, Kipnis, Upfal and Weathersby 1997, Efficient algorithms for all-to-all
// communications in multiport message-passing systems, IEEE Trans. Parallel Distrib. Syst. 8(11),
// the index and concatenation operations with one port and radix 2.
#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "algorithms/families.hpp"
#include "algorithms/virtual_ranks.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

Schedule all_gather(const Request& request) {
    ScheduleBuilder builder(request);
    const VirtualRanks ranks(request);
    const int size = request.size;
    const int rank = request.rank;
    const Blocks blocks = request.blocks();

    // Blocks are collected in the order rank, rank + 1, ..., which is that of the output on rank 0
    // only; others turn the result at the end.
    std::vector<std::uint64_t> counts;
    for (int i = 0; i < size; ++i) counts.push_back(blocks.count(ranks.wrap(rank + i)));
    const Blocks ahead = Blocks::of(counts);
    const Slice held =
        rank == 0 ? Slice{Buffer::output, 0, blocks.total()} : builder.scratch(blocks.total());
    const auto part = [&](int first, int last) {
        const Slice range = ahead.range(held.buffer, first, last);
        return held.part(range.offset, range.count);
    };
    const Slice input{Buffer::input, 0, blocks.count(rank)};
    builder.copy(part(0, 1), input);
    for (int hop = 1; hop < size; hop *= 2) {
        const int moved = std::min(hop, size - hop);
        builder.send(ranks.wrap(rank - hop), part(0, moved));
        builder.recv(ranks.wrap(rank + hop), part(hop, hop + moved));
    }
    if (rank > 0) {
        builder.copy(blocks.in(Buffer::output, rank), input);
        builder.copy(blocks.range(Buffer::output, rank + 1, size), part(1, size - rank));
        builder.copy(blocks.range(Buffer::output, 0, rank), part(size - rank, size));
    }
    return std::move(builder).build();
}

Schedule all_to_all(const Request& request) {
    ScheduleBuilder builder(request);
    const VirtualRanks ranks(request);
    const int size = request.size;
    const int rank = request.rank;
    const std::uint64_t count = request.count;
    const Blocks blocks = request.blocks();

    // held[i]: where the block is that has i still to go before, or has gone i after, its journey.
    std::vector<Slice> held;
    for (int i = 0; i < size; ++i) {
        held.push_back(blocks.in(Buffer::input, ranks.wrap(rank + i)));
    }
    builder.copy(blocks.in(Buffer::output, rank), held[0]);
    // One pack is filled while the one before leaves. Up to three ranks, blocks move one by one.
    const auto largest = size > 3 ? static_cast<std::uint64_t>(size / 2) * count : 0;
    const std::array packs = {builder.scratch(largest), builder.scratch(largest)};
    std::size_t round = 0;
    for (int hop = 1; hop < size; hop *= 2, ++round) {
        // Falling, so that blocks at the end of their journey arrive in the order of the output.
        std::vector<std::size_t> movers;
        for (int i = size - 1; i > 0; --i) {
            if ((i & hop) != 0) movers.push_back(static_cast<std::size_t>(i));
        }
        const std::uint64_t length = movers.size() * count;
        // A single mover needs no packing (nor does the builder copy a slice onto itself).
        const Slice pack = movers.size() == 1 ? held[movers[0]] : packs[round % 2].part(0, length);
        const Slice arrived = builder.scratch(length);
        for (std::size_t k = 0; k < movers.size(); ++k) {
            builder.copy(pack.part(k * count, count), held[movers[k]]);
            held[movers[k]] = arrived.part(k * count, count);
        }
        builder.send(ranks.wrap(rank + hop), pack);
        builder.recv(ranks.wrap(rank - hop), arrived);

        // The last movers have no higher digit: blocks from ranks rank - last, ..., rank - hop.
        const int last = std::min(2 * hop, size) - 1;
        const int home = last - hop + 1;
        const int first_source = ranks.wrap(rank - last);
        const int before_wrap = std::min(home, size - first_source);
        const Slice at_home = arrived.part(length - static_cast<std::uint64_t>(home) * count,
                                           static_cast<std::uint64_t>(home) * count);
        const std::uint64_t split = static_cast<std::uint64_t>(before_wrap) * count;
        builder.copy(blocks.range(Buffer::output, first_source, first_source + before_wrap),
                     at_home.part(0, split));
        builder.copy(blocks.range(Buffer::output, 0, home - before_wrap),
                     at_home.part(split, at_home.count - split));
    }
    return std::move(builder).build();
}

constexpr std::array<Algorithm, 2> table = {{
    {.collective = Collective::all_gather,
     .name = "bruck",
     .cost = "log2 p alpha + (p-1)/p N beta",
     .source = "Bruck et al. 1997, concatenation",
     .takes_counts = true,
     .pipelined = false,
     .build = all_gather},
    {.collective = Collective::all_to_all,
     .name = "bruck",
     .cost = "log2 p (alpha + N/2 beta)",
     .source = "Bruck et al. 1997, index with radix 2",
     .takes_counts = false,
     .pipelined = false,
     .build = all_to_all},
}};

}  // namespace

std::span<const Algorithm> bruck_algorithms() { return table; }

}  // namespace pycoll
