// Recursive doubling: in round k, ranks whose numbers differ in bit k exchange all that they have.
// Ranks beyond a power of two hand their part to a neighbour before, and get the result after.
//
// Cost: all-reduce log2 p (alpha + N beta + N gamma), all-gather log2 p alpha + (p-1)/p N beta; two
// messages more if p is no power of two.
// Source: Thakur, Rabenseifner and Gropp 2005, Optimization of collective communication operations
// in MPICH, Int. J. High Perform. Comput. Appl. 19(1), sections 4.1 and 4.5.
#include <array>
#include <cstddef>

#include "algorithms/families.hpp"
#include "algorithms/hypercube.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

using Fold = ScheduleBuilder::Fold;

Schedule all_reduce(const Request& request) {
    ScheduleBuilder builder(request);
    const Hypercube cube{VirtualRanks(request)};
    const Slice input{Buffer::input, 0, request.count};
    const Slice output{Buffer::output, 0, request.count};
    if (cube.is_guest()) {
        builder.send(cube.host(), input);
        builder.recv(cube.host(), output);
        return std::move(builder).build();
    }
    if (request.size == 1) builder.copy(output, input);
    Slice sum = input;
    if (cube.is_host()) {
        builder.recv_reduce(cube.guest(), output, sum);
        sum = output;
    }
    // What arrives waits in scratch until the own sum has left. In turn, so that a message has a
    // place to go while the one before is folded.
    std::array<Slice, 2> arrivals;
    for (int k = 0; k < cube.dimensions(); ++k) {
        Slice& arrival = arrivals[static_cast<std::size_t>(k % 2)];
        if (k < 2) arrival = builder.scratch(request.count);
        builder.send(cube.neighbour(k), sum);
        builder.recv(cube.neighbour(k), arrival);
        // Both fold the lower node's sum with the upper one's, in this order.
        const std::array operands =
            cube.is_upper(k) ? std::array{arrival, sum} : std::array{sum, arrival};
        builder.reduce(output, operands, k == cube.dimensions() - 1 ? Fold::last : Fold::partial);
        sum = output;
    }
    if (cube.is_host()) builder.send(cube.guest(), output);
    return std::move(builder).build();
}

Schedule all_gather(const Request& request) {
    ScheduleBuilder builder(request);
    const Hypercube cube{VirtualRanks(request)};
    const Blocks blocks = request.blocks();
    const Slice input{Buffer::input, 0, blocks.count(request.rank)};
    const Slice whole{Buffer::output, 0, blocks.total()};
    if (cube.is_guest()) {
        builder.send(cube.host(), input);
        builder.recv(cube.host(), whole);
        return std::move(builder).build();
    }
    builder.copy(blocks.in(Buffer::output, request.rank), input);
    if (cube.is_host()) {
        builder.recv(cube.guest(), blocks.in(Buffer::output, request.rank + 1));
    }
    const auto blocks_of = [&](int first_node, int nodes) {
        return blocks.range(Buffer::output, cube.first_rank(first_node),
                            cube.first_rank(first_node + nodes));
    };
    for (int k = 0; k < cube.dimensions(); ++k) {
        // Before round k, a node holds the blocks of its aligned group of 2^k nodes.
        const int nodes = 1 << k;
        const int first = cube.node() & ~(nodes - 1);
        builder.send(cube.neighbour(k), blocks_of(first, nodes));
        builder.recv(cube.neighbour(k), blocks_of(first ^ nodes, nodes));
    }
    if (cube.is_host()) builder.send(cube.guest(), whole);
    return std::move(builder).build();
}

constexpr std::array<Algorithm, 2> table = {{
    {.collective = Collective::all_reduce,
     .name = "recursive_doubling",
     .cost = "log2 p (alpha + N beta + N gamma)",
     .source = "Thakur, Rabenseifner and Gropp 2005, section 4.5",
     .takes_counts = false,
     .pipelined = true,
     .build = all_reduce},
    {.collective = Collective::all_gather,
     .name = "recursive_doubling",
     .cost = "log2 p alpha + (p-1)/p N beta",
     .source = "Thakur, Rabenseifner and Gropp 2005, section 4.1",
     .takes_counts = true,
     .pipelined = false,
     .build = all_gather},
}};

}  // namespace

std::span<const Algorithm> recursive_doubling_algorithms() { return table; }

}  // namespace pycoll
