// Chain: the ranks stand in a line; chunk by chunk, data runs down from the root, or partial sums
// run up to it.
//
// Cost with c chunks: (p - 2 + c) (alpha + N/c beta), plus as much gamma for the folds: for long
// vectors and few ranks nearly N beta, the least there can be.
// Source: Traeff and Ripke 2008, Optimal broadcast for fully connected processor-node networks,
// J. Parallel Distrib. Comput. 68(7), related work (linear pipeline).
#include <array>

#include "algorithms/families.hpp"
#include "algorithms/tree.hpp"

namespace pycoll {
namespace {

TreeShare own_share(const Request& request) {
    const VirtualRanks ranks(request);
    TreeNode node;
    if (ranks.rank() > 0) node.parent = ranks.rank() - 1;
    if (ranks.rank() + 1 < ranks.size()) node.children = {ranks.rank() + 1};
    return {real(node, ranks), 0, request.count, request.chunk};
}

Schedule reduce(const Request& request) {
    ScheduleBuilder builder(request);
    reduce_to_root(builder, std::array{own_share(request)});
    return std::move(builder).build();
}

Schedule broadcast(const Request& request) {
    ScheduleBuilder builder(request);
    broadcast_from_root(builder, std::array{own_share(request)});
    return std::move(builder).build();
}

constexpr std::string_view source = "Traeff and Ripke 2008, linear pipeline";

constexpr std::array<Algorithm, 2> table = {{
    {.collective = Collective::reduce,
     .name = "chain",
     .cost = "(p-2+c) (alpha + N/c (beta + gamma)) with c chunks",
     .source = source,
     .takes_counts = false,
     .pipelined = true,
     .build = reduce},
    {.collective = Collective::broadcast,
     .name = "chain",
     .cost = "(p-2+c) (alpha + N/c beta) with c chunks",
     .source = source,
     .takes_counts = false,
     .pipelined = true,
     .build = broadcast},
}};

}  // namespace

std::span<const Algorithm> chain_algorithms() { return table; }

}  // namespace pycoll
