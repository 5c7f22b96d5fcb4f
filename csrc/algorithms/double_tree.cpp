// Double binary tree: two binary trees, laid out so that a leaf of one is an inner node of the
// other, carry half of the vector each. An inner node of one tree passes on that half twice, a leaf
// never, so that together every rank sends and receives the vector once per direction.
//
// Cost with c chunks per half: (2 log2 p + 2c) (alpha + N/2c beta) up, plus as much gamma, and again
// down; the all-reduce folds up and passes down at once: nearly 2N beta in log time.
// Source: Sanders, Speck and Traeff 2009, Two-tree algorithms for full bandwidth broadcast,
// reduction and scan, Parallel Computing 35(12), construction of the trees by mirroring and
// shifting. As there, both trees hang below the root, which takes part in neither.
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>

#include "algorithms/families.hpp"
#include "algorithms/in_order_tree.hpp"

namespace pycoll {
namespace {

/// The number that a rank has in the second tree, and back. The root keeps 0; for the others, odd
/// (a leaf) must become even (an inner node): mirror 1, ..., n if n is even, else shift by one.
int to_second_tree(int rank, int size) {
    const int others = size - 1;
    if (rank == 0) return 0;
    return others % 2 == 0 ? size - rank : rank % others + 1;
}

int from_second_tree(int node, int size) {
    const int others = size - 1;
    if (node == 0) return 0;
    return others % 2 == 0 ? size - node : (node + others - 2) % others + 1;
}

/// One tree with the half of the vector that it carries, as offset and length.
struct HalfTree {
    TreeNode node;
    std::uint64_t offset;
    std::uint64_t count;

    [[nodiscard]] Slice in(Buffer buffer) const { return {buffer, offset, count}; }
};

std::array<HalfTree, 2> two_trees(const Request& request) {
    const VirtualRanks ranks(request);
    const int size = ranks.size();
    const TreeNode first = in_order_node(ranks.rank(), size);
    TreeNode second = in_order_node(to_second_tree(ranks.rank(), size), size);
    if (!second.is_root()) second.parent = from_second_tree(second.parent, size);
    for (int& child : second.children) child = from_second_tree(child, size);

    const Blocks halves = Blocks::split(request.count, 2);
    return {HalfTree{real(first, ranks), halves.offset(0), halves.count(0)},
            HalfTree{real(second, ranks), halves.offset(1), halves.count(1)}};
}

Schedule reduce(const Request& request) {
    ScheduleBuilder builder(request);
    for (const HalfTree& half : two_trees(request)) {
        reduce_to_root(builder, half.node, half.in(Buffer::input), request.chunk);
    }
    return std::move(builder).build();
}

Schedule broadcast(const Request& request) {
    ScheduleBuilder builder(request);
    for (const HalfTree& half : two_trees(request)) {
        broadcast_from_root(builder, half.node, half.in(Buffer::output), request.chunk);
    }
    return std::move(builder).build();
}

Schedule all_reduce(const Request& request) {
    ScheduleBuilder builder(request);
    const auto trees = two_trees(request);
    std::array<std::vector<Slice>, 2> inputs;
    std::array<std::vector<Slice>, 2> outputs;
    for (std::size_t t = 0; t < 2; ++t) {
        inputs[t] = pieces(trees[t].in(Buffer::input), request.chunk);
        outputs[t] = pieces(trees[t].in(Buffer::output), request.chunk);
    }
    // A rank may talk to the same peer up in one tree and down in the other, and messages to a
    // peer leave in order. A chunk comes back down after it has climbed the tree and descended;
    // listing it only then keeps it from blocking chunks that are on their way up.
    const std::size_t lag = 2 * static_cast<std::size_t>(
                                    std::bit_width(static_cast<unsigned>(request.size)));
    const std::size_t chunks = std::max(inputs[0].size(), inputs[1].size());
    for (std::size_t i = 0; i < chunks + lag; ++i) {
        for (std::size_t t = 0; t < 2; ++t) {
            if (i < inputs[t].size()) {
                reduce_up(builder, trees[t].node, inputs[t][i], outputs[t][i]);
            }
            if (i >= lag && i - lag < outputs[t].size()) {
                broadcast_down(builder, trees[t].node, outputs[t][i - lag]);
            }
        }
    }
    return std::move(builder).build();
}

constexpr std::string_view source = "Sanders, Speck and Traeff 2009, two trees";

constexpr std::array<Algorithm, 3> table = {{
    {.collective = Collective::all_reduce,
     .name = "double_tree",
     .cost = "(4 log2 p + 4c) (alpha + N/2c (beta + gamma/2)) with c chunks per half",
     .source = source,
     .takes_counts = false,
     .pipelined = true,
     .build = all_reduce},
    {.collective = Collective::reduce,
     .name = "double_tree",
     .cost = "(2 log2 p + 2c) (alpha + N/2c (beta + gamma)) with c chunks per half",
     .source = source,
     .takes_counts = false,
     .pipelined = true,
     .build = reduce},
    {.collective = Collective::broadcast,
     .name = "double_tree",
     .cost = "(2 log2 p + 2c) (alpha + N/2c beta) with c chunks per half",
     .source = source,
     .takes_counts = false,
     .pipelined = true,
     .build = broadcast},
}};

}  // namespace

std::span<const Algorithm> double_tree_algorithms() { return table; }

}  // namespace pycoll
