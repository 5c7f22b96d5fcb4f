// Binary tree: folds go up and data goes down one binary tree, chunk by chunk, so that all levels
// work at once.
//
// Cost with c chunks: (2 log2 p + 2c) (alpha + N/c beta), plus as much gamma for the folds: an
// inner node receives (or sends) every chunk for two children.
//
// Source: Sanders, Speck and Traeff 2009, Two-tree algorithms for full bandwidth broadcast,
// reduction and scan, Parallel Computing 35(12), introduction (pipelined binary trees).
#include <array>

#include "algorithms/families.hpp"
#include "algorithms/in_order_tree.hpp"

namespace pycoll {
namespace {

TreeShare own_share(const Request& request) {
    const VirtualRanks ranks(request);
    return {real(in_order_node(ranks.rank(), ranks.size()), ranks), 0, request.count,
            request.chunk};
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

constexpr std::string_view source = "Sanders, Speck and Traeff 2009, pipelined binary trees";

constexpr std::array<Algorithm, 2> table = {{
    {.collective = Collective::reduce,
     .name = "binary_tree",
     .cost = "(2 log2 p + 2c) (alpha + N/c (beta + gamma)) with c chunks",
     .source = source,
     .takes_counts = false,
     .pipelined = true,
     .build = reduce},
    {.collective = Collective::broadcast,
     .name = "binary_tree",
     .cost = "(2 log2 p + 2c) (alpha + N/c beta) with c chunks",
     .source = source,
     .takes_counts = false,
     .pipelined = true,
     .build = broadcast},
}};

}  // namespace

std::span<const Algorithm> binary_tree_algorithms() { return table; }

}  // namespace pycoll
