// Double binary tree: two binary trees, laid out so that a leaf of one is an inner node of the
// other, carry half of the vector each. An inner node of one tree passes on that half twice, a leaf
// never, so that together every rank sends and receives the vector once per direction.
//
// Cost with c chunks per half: (2 log2 p + 2c) (alpha + N/2c beta) up, plus as much gamma, and
// again down; the all-reduce folds up and passes down at once: nearly 2N beta in log time.
//
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

std::array<TreeShare, 2> two_trees(const Request& request) {
    const VirtualRanks ranks(request);
    const int size = ranks.size();
    const TreeNode first = in_order_node(ranks.rank(), size);
    TreeNode second = in_order_node(to_second_tree(ranks.rank(), size), size);
    if (!second.is_root()) second.parent = from_second_tree(second.parent, size);
    for (int& child : second.children) child = from_second_tree(child, size);

    const Blocks halves = Blocks::split(request.count, 2);
    return {TreeShare{real(first, ranks), halves.offset(0), halves.count(0), request.chunk},
            TreeShare{real(second, ranks), halves.offset(1), halves.count(1), request.chunk}};
}

Schedule reduce(const Request& request) {
    ScheduleBuilder builder(request);
    reduce_to_root(builder, two_trees(request));
    return std::move(builder).build();
}

Schedule broadcast(const Request& request) {
    ScheduleBuilder builder(request);
    broadcast_from_root(builder, two_trees(request));
    return std::move(builder).build();
}

Schedule all_reduce(const Request& request) {
    ScheduleBuilder builder(request);
    const auto trees = two_trees(request);
    // A rank may talk to the same peer up in one tree and down in the other, and messages to a peer
    // leave in order. A chunk comes back down after it has climbed the tree; listing it only then
    // keeps it from blocking chunks on their way up. (16 MiB in chunks of 256 KiB over 16 ranks are
    // priced at 1.4 times 2N beta with this lag, at 8.4 times without.)
    const std::size_t lag =
        4 * static_cast<std::size_t>(std::bit_width(static_cast<unsigned>(request.size - 1)));
    const std::size_t chunks = std::max(trees[0].chunks(), trees[1].chunks());
    for (std::size_t i = 0; i < chunks + lag; ++i) {
        for (const TreeShare& tree : trees) {
            reduce_up(builder, tree.node, tree.piece(Buffer::input, i),
                      tree.piece(Buffer::output, i));
            if (i >= lag) broadcast_down(builder, tree.node, tree.piece(Buffer::output, i - lag));
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
