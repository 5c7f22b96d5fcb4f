// Binomial tree: in each of ceil(log2 p) rounds every rank that has the data passes it to one that
// has not (broadcast, scatter), or the same backwards (reduce, gather). Reduce up, then broadcast
// down is the all-reduce.
//
// Cost: log2 p (alpha + N beta), plus as much gamma for the folds: the fewest messages there can
// be. Gather and scatter move each subtree's blocks as one message: log2 p alpha + (p-1)/p N beta.
// Source: Thakur, Rabenseifner and Gropp 2005, Optimization of collective communication operations
// in MPICH, Int. J. High Perform. Comput. Appl. 19(1), sections 4.2 and 4.5.
#include <array>
#include <vector>

#include "algorithms/binomial_tree.hpp"
#include "algorithms/families.hpp"

namespace pycoll {
namespace {

TreeShare own_share(const Request& request) {
    const VirtualRanks ranks(request);
    return {real(binomial_node(ranks.rank(), ranks.size()), ranks), 0, request.count,
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

Schedule all_reduce(const Request& request) {
    ScheduleBuilder builder(request);
    const TreeShare tree = own_share(request);
    for (std::size_t i = 0; i < tree.chunks(); ++i) {
        reduce_up(builder, tree.node, tree.piece(Buffer::input, i), tree.piece(Buffer::output, i));
    }
    for (std::size_t i = 0; i < tree.chunks(); ++i) {
        broadcast_down(builder, tree.node, tree.piece(Buffer::output, i));
    }
    return std::move(builder).build();
}

/// The blocks of gather and scatter as they travel: in the order of the virtual ranks, so that
/// those of a subtree lie together. Only the root, whose buffer is in the order of the real ranks,
/// may find the blocks of one child in two places.
class Parcels {
public:
    explicit Parcels(const Request& request)
        : ranks_(request), real_(request.blocks()), travelling_(reordered(ranks_, real_)) {}

    [[nodiscard]] int own() const { return ranks_.rank(); }
    [[nodiscard]] int real(int node) const { return ranks_.real(node); }
    [[nodiscard]] TreeNode node() const { return binomial_node(own(), ranks_.size()); }

    /// What comes from or goes to the subtree of `node`, as one or two runs of nodes that follow
    /// one another at the root as well.
    struct Run {
        int begin;
        int end;
    };
    [[nodiscard]] std::vector<Run> runs(int node) const {
        const int end = binomial_end(node, ranks_.size());
        const int wrap = ranks_.size() - ranks_.real(0);
        const bool touches_root = node == 0 || (node & (node - 1)) == 0;
        if (!touches_root || wrap <= node || wrap >= end) return {{node, end}};
        return {{node, wrap}, {wrap, end}};
    }

    [[nodiscard]] Slice at_root(Buffer buffer, const Run& run) const {
        const int first = ranks_.real(run.begin);
        return real_.range(buffer, first, first + run.end - run.begin);
    }
    /// Place in a buffer that holds the own subtree's blocks from its start.
    [[nodiscard]] Slice below(const Slice& buffer, const Run& run) const {
        return buffer.part(travelling_.offset(run.begin) - travelling_.offset(own()),
                           travelling_.range(buffer.buffer, run.begin, run.end).count);
    }
    [[nodiscard]] std::uint64_t count_below() const {
        const int end = binomial_end(own(), ranks_.size());
        return travelling_.offset(end) - travelling_.offset(own());
    }

private:
    static Blocks reordered(const VirtualRanks& ranks, const Blocks& blocks) {
        std::vector<std::uint64_t> counts;
        for (int v = 0; v < ranks.size(); ++v) counts.push_back(blocks.count(ranks.real(v)));
        return Blocks::of(counts);
    }

    VirtualRanks ranks_;
    Blocks real_;
    Blocks travelling_;
};

Schedule gather(const Request& request) {
    ScheduleBuilder builder(request);
    const Parcels parcels(request);
    const TreeNode node = parcels.node();
    const bool is_root = node.is_root();
    const Slice own{Buffer::input, 0, request.input_count()};
    // The root collects in its output, an inner node in scratch; a leaf has nothing to collect.
    const Slice held = is_root || node.is_leaf() ? own : builder.scratch(parcels.count_below());
    const auto place = [&](const Parcels::Run& run) {
        return is_root ? parcels.at_root(Buffer::output, run) : parcels.below(held, run);
    };
    for (const int child : node.children) {
        for (const auto& run : parcels.runs(child)) builder.recv(parcels.real(child), place(run));
    }
    if (is_root || !node.is_leaf()) builder.copy(place({parcels.own(), parcels.own() + 1}), own);
    if (is_root) return std::move(builder).build();
    for (const auto& run : parcels.runs(parcels.own())) {
        builder.send(parcels.real(node.parent), place(run));
    }
    return std::move(builder).build();
}

Schedule scatter(const Request& request) {
    ScheduleBuilder builder(request);
    const Parcels parcels(request);
    const TreeNode node = parcels.node();
    const bool is_root = node.is_root();
    const Slice own{Buffer::output, 0, request.output_count()};
    const Slice held = is_root || node.is_leaf() ? own : builder.scratch(parcels.count_below());
    const auto place = [&](const Parcels::Run& run) {
        return is_root ? parcels.at_root(Buffer::input, run) : parcels.below(held, run);
    };
    if (!is_root) {
        for (const auto& run : parcels.runs(parcels.own())) {
            builder.recv(parcels.real(node.parent), place(run));
        }
    }
    for (const int child : node.children) {
        for (const auto& run : parcels.runs(child)) builder.send(parcels.real(child), place(run));
    }
    if (is_root || !node.is_leaf()) builder.copy(own, place({parcels.own(), parcels.own() + 1}));
    return std::move(builder).build();
}

constexpr std::string_view broadcast_source = "Thakur, Rabenseifner and Gropp 2005, section 4.2";
constexpr std::string_view reduce_source = "Thakur, Rabenseifner and Gropp 2005, section 4.5";

constexpr std::array<Algorithm, 5> table = {{
    {.collective = Collective::all_reduce,
     .name = "binomial",
     .cost = "2 log2 p alpha + 2 log2 p N beta + log2 p N gamma",
     .source = reduce_source,
     .takes_counts = false,
     .pipelined = true,
     .build = all_reduce},
    {.collective = Collective::reduce,
     .name = "binomial",
     .cost = "log2 p alpha + log2 p N beta + log2 p N gamma",
     .source = reduce_source,
     .takes_counts = false,
     .pipelined = true,
     .build = reduce},
    {.collective = Collective::broadcast,
     .name = "binomial",
     .cost = "log2 p alpha + log2 p N beta",
     .source = broadcast_source,
     .takes_counts = false,
     .pipelined = true,
     .build = broadcast},
    {.collective = Collective::gather,
     .name = "binomial",
     .cost = "log2 p alpha + (p-1)/p N beta",
     .source = broadcast_source,
     .takes_counts = true,
     .pipelined = false,
     .build = gather},
    {.collective = Collective::scatter,
     .name = "binomial",
     .cost = "log2 p alpha + (p-1)/p N beta",
     .source = broadcast_source,
     .takes_counts = true,
     .pipelined = false,
     .build = scatter},
}};

}  // namespace

std::span<const Algorithm> binomial_algorithms() { return table; }

}  // namespace pycoll
