// Scatter and all-gather (van de Geijn): the root scatters the vector down a binomial tree, then
// the parts go round the ring. A rank that passed on a subtree's parts has them already and is not
// sent them again.
//
// Cost: (log2 p + p - 1) alpha + 2(p-1)/p N beta: for long vectors a log2 p / 2-th of the tree's.
// Source: Thakur, Rabenseifner and Gropp 2005, Optimization of collective communication operations
// in MPICH, Int. J. High Perform. Comput. Appl. 19(1), section 4.2, after Barnett, Gupta, Payne,
// Shuler, van de Geijn and Watts 1994.
#include <array>

#include "algorithms/binomial_tree.hpp"
#include "algorithms/families.hpp"
#include "algorithms/ring.hpp"

namespace pycoll {
namespace {

Schedule broadcast(const Request& request) {
    ScheduleBuilder builder(request);
    const VirtualRanks ranks(request);
    const TreeNode node = binomial_node(ranks.rank(), ranks.size());
    const Blocks parts = Blocks::split(request.count, ranks.size());
    const Buffer held_in = request.is_root() ? Buffer::input : Buffer::output;
    const auto parts_below = [&](int v) {
        return parts.range(held_in, v, binomial_end(v, ranks.size()));
    };
    if (!node.is_root()) builder.recv(ranks.real(node.parent), parts_below(ranks.rank()));
    for (const int child : node.children) builder.send(ranks.real(child), parts_below(child));

    const auto held = [&](int v) { return binomial_end(v, ranks.size()) - v; };
    ring_all_gather(
        builder, ranks, parts.in(held_in, ranks.rank()),
        [&](int part) { return parts.in(held_in, part); }, held(ranks.rank()),
        held(ranks.wrap(ranks.rank() + 1)));
    if (request.is_root()) {
        builder.copy({Buffer::output, 0, request.count}, {Buffer::input, 0, request.count});
    }
    return std::move(builder).build();
}

constexpr std::array<Algorithm, 1> table = {{
    {.collective = Collective::broadcast,
     .name = "scatter_all_gather",
     .cost = "(log2 p + p-1) alpha + 2(p-1)/p N beta",
     .source = "Thakur, Rabenseifner and Gropp 2005, section 4.2",
     .takes_counts = false,
     .pipelined = true,
     .build = broadcast},
}};

}  // namespace

std::span<const Algorithm> scatter_all_gather_algorithms() { return table; }

}  // namespace pycoll
