// Recursive halving: in each round, a rank keeps the half of its blocks that its own side of the
// ranks needs, folds what the partner on the other side has of it, and gives the other half away.
// Ranks beyond a power of two hand their part to a neighbour before, and get their block after.
//
// Cost: log2 p alpha + (p-1)/p N (beta + gamma); 2 alpha + N (beta + gamma) + N/p beta more if p is
// no power of two.
// Source: Thakur, Rabenseifner and Gropp 2005, Optimization of collective communication operations
// in MPICH, Int. J. High Perform. Comput. Appl. 19(1), section 4.4.
#include <array>

#include "algorithms/families.hpp"
#include "algorithms/hypercube.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

using Fold = ScheduleBuilder::Fold;

/// The blocks a node keeps and gives in each round, the farthest partner first: the lower half of
/// the blocks belongs to the lower half of the nodes, and so on down to its own.
struct Round {
    int partner;
    Slice kept;
    Slice given;
};

std::vector<Round> halves(const Hypercube& cube, const Blocks& blocks) {
    std::vector<Round> rounds;
    for (int k = cube.dimensions() - 1; k >= 0; --k) {
        const int nodes = 1 << k;
        const auto group = [&](int first) {
            return blocks.range(Buffer::input, cube.first_rank(first),
                                cube.first_rank(first + nodes));
        };
        const int first = cube.node() & ~(nodes - 1);
        rounds.push_back({cube.neighbour(k), group(first), group(first ^ nodes)});
    }
    return rounds;
}

Schedule reduce_scatter(const Request& request) {
    ScheduleBuilder builder(request);
    const Hypercube cube{VirtualRanks(request)};
    const Blocks blocks = request.blocks();
    const Slice input{Buffer::input, 0, blocks.total()};
    const Slice output{Buffer::output, 0, blocks.count(request.rank)};
    if (cube.is_guest()) {
        builder.send(cube.host(), input);
        builder.recv(cube.host(), output);
        return std::move(builder).build();
    }
    if (request.size == 1) builder.copy(output, input);
    const std::vector<Round> rounds = halves(cube, blocks);

    // Sums start where the input does if the guest's part comes in, else at the first half kept.
    Slice span{Buffer::input, 0, 0};
    if (cube.is_host()) {
        span = input;
    } else if (rounds.size() > 1) {
        span = rounds.front().kept;
    }
    const Slice scratch = builder.scratch(span.count);
    const auto sum_of = [&](const Slice& part) {
        return scratch.part(part.offset - span.offset, part.count);
    };

    bool summed = false;
    if (cube.is_host()) {
        builder.recv_reduce(cube.guest(), sum_of(input), input);
        summed = true;
    }
    for (const Round& round : rounds) {
        const bool last = &round == &rounds.back();
        const Slice so_far = summed ? sum_of(round.kept) : round.kept;
        builder.send(round.partner, summed ? sum_of(round.given) : round.given);
        builder.recv_reduce(round.partner, last && !cube.is_host() ? output : sum_of(round.kept),
                            so_far, last ? Fold::last : Fold::partial);
        summed = true;
    }
    if (cube.is_host()) {
        builder.send(cube.guest(), sum_of(blocks.in(Buffer::input, request.rank + 1)));
        builder.copy(output, sum_of(blocks.in(Buffer::input, request.rank)));
    }
    return std::move(builder).build();
}

constexpr std::array<Algorithm, 1> table = {{
    {.collective = Collective::reduce_scatter,
     .name = "recursive_halving",
     .cost = "log2 p alpha + (p-1)/p N (beta + gamma)",
     .source = "Thakur, Rabenseifner and Gropp 2005, section 4.4",
     .takes_counts = true,
     .pipelined = true,
     .build = reduce_scatter},
}};

}  // namespace

std::span<const Algorithm> recursive_halving_algorithms() { return table; }

}  // namespace pycoll
