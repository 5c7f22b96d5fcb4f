// Hierarchical: inside each node through shared memory, between nodes by messages, every rank of a
// node carrying its share of the vector. An all-reduce is a reduce-scatter inside the nodes, an
// all-reduce of each share between them, and an all-gather inside: built from the schedules of the
// algorithms that do just that. Here the collectives of whole vectors; those of blocks are in
// hierarchical_blocks.cpp.
//
// Cost: between n nodes of q ranks, all_reduce sends 2 (n-1)/n N/q bytes per rank, so 2 (n-1)/n N
// per node, which is the least there is. Where nodes have different numbers of ranks, as many carry
// as the smallest has.
// Source: two-level reduce-scatter, all-reduce, all-gather: Thakur, Rabenseifner and Gropp 2005,
// Optimization of Collective Communication Operations in MPICH, IJHPCA 19(1) for the
// phases; Jain et al. 2018 (see staged.cpp) for shared memory below messages.
#include <array>
#include <string_view>
#include <vector>

#include "algorithms/families.hpp"
#include "algorithms/nodes.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

/// The nodes, and who carries what of a vector between them: as many ranks of each as the smallest
/// has.
class Carriers : public Nodes {
public:
    explicit Carriers(const Request& request)
        : Nodes(request), split_(Blocks::split(request.count, fewest())) {}

    [[nodiscard]] bool is_carrier() const { return local() < split_.size(); }
    /// Those who carry the same share as this rank, by node.
    [[nodiscard]] std::vector<int> fellow_carriers() const {
        std::vector<int> fellows;
        for (int node = 0; node < size(); ++node) fellows.push_back(rank(node, local()));
        return fellows;
    }
    /// What each rank of this node carries of a vector: nothing beyond the carriers.
    [[nodiscard]] std::vector<std::uint64_t> shares() const {
        std::vector<std::uint64_t> counts;
        for (int i = 0; i < split_.size(); ++i) counts.push_back(split_.count(i));
        counts.resize(own().size());
        return counts;
    }
    [[nodiscard]] Slice share(Buffer buffer) const {
        return Blocks::of(shares()).in(buffer, local());
    }

private:
    Blocks split_;
};

/// The request of a phase inside this node, in shares of the vector.
Request inside(const Request& request, const Carriers& nodes, Collective collective, int root = 0) {
    return {.collective = collective,
            .rank = nodes.local(),
            .size = static_cast<int>(nodes.own().size()),
            .root = root,
            .chunk = request.chunk,
            .counts = nodes.shares()};
}

/// The request of a phase between nodes, of this rank's share.
Request between(const Request& request, const Carriers& nodes, Collective collective,
                int root = 0) {
    return {.collective = collective,
            .rank = nodes.own_number(),
            .size = nodes.size(),
            .count = nodes.share(Buffer::output).count,
            .root = root,
            .chunk = request.chunk,
            .in_place = true};
}

/// A share that is folded in few messages, or in many that are short enough to be under way at
/// once.
std::string_view between_nodes(const Request& request) {
    if (request.count < few_elements) return "recursive_doubling";
    // A ring's messages are 1/n of the share: with many nodes they come to cost as many latencies.
    const std::uint64_t message = request.count / static_cast<std::uint64_t>(request.size);
    return message < few_elements ? "rabenseifner" : "ring";
}

Slice whole(Buffer buffer, std::uint64_t count) { return {buffer, 0, count}; }

Schedule all_reduce(const Request& request) {
    const Carriers nodes(request);
    if (nodes.size() == 1) return on_one_node(request);
    ScheduleBuilder builder(request);
    builder.meet_first();
    const Slice input = whole(Buffer::input, request.count);
    const Slice output = whole(Buffer::output, request.count);
    const Slice share = nodes.share(Buffer::output);

    Request scatter = inside(request, nodes, Collective::reduce_scatter);
    scatter.in_place = request.in_place;
    builder.include(phase(scatter, "staged"),
                    {.ranks = nodes.own(), .input = input, .output = share, .finishes = false});
    if (nodes.is_carrier()) {
        const Request fold = between(request, nodes, Collective::all_reduce);
        builder.include(phase(fold, between_nodes(fold)),
                        {.ranks = nodes.fellow_carriers(), .input = share, .output = share});
    }
    Request gather = inside(request, nodes, Collective::all_gather);
    gather.in_place = true;
    builder.include(phase(gather, "staged"),
                    {.ranks = nodes.own(), .input = share, .output = output});
    return std::move(builder).build();
}

Schedule reduce(const Request& request) {
    const Carriers nodes(request);
    if (nodes.size() == 1) return on_one_node(request);
    ScheduleBuilder builder(request);
    builder.meet_first();
    const Slice share = builder.scratch(nodes.share(Buffer::output).count);

    builder.include(phase(inside(request, nodes, Collective::reduce_scatter), "staged"),
                    {.ranks = nodes.own(),
                     .input = whole(Buffer::input, request.count),
                     .output = share,
                     .finishes = false});
    if (nodes.is_carrier()) {
        Request fold = between(request, nodes, Collective::reduce, nodes.root_number());
        builder.include(phase(fold, "binomial"),
                        {.ranks = nodes.fellow_carriers(), .input = share, .output = share});
    }
    if (nodes.is_at_root()) {
        const Request gather = inside(request, nodes, Collective::gather, nodes.local_root());
        builder.include(
            phase(gather, "staged"),
            {.ranks = nodes.own(), .input = share, .output = whole(Buffer::output, request.count)});
    }
    return std::move(builder).build();
}

/// In the root's node all get everything at once; the others gather the shares they are sent.
Schedule broadcast(const Request& request) {
    const Carriers nodes(request);
    if (nodes.size() == 1) return on_one_node(request);
    ScheduleBuilder builder(request);
    builder.meet_first();
    const Slice output = whole(Buffer::output, request.count);
    const Slice share = nodes.share(Buffer::output);
    const bool is_at_root = nodes.is_at_root();

    if (is_at_root) {
        Request near = inside(request, nodes, Collective::broadcast, nodes.local_root());
        near.count = request.count;
        near.counts.clear();
        near.in_place = request.in_place && request.is_root();
        builder.include(
            phase(near, "staged"),
            {.ranks = nodes.own(), .input = whole(Buffer::input, request.count), .output = output});
    }
    if (nodes.is_carrier()) {
        const Request far = between(request, nodes, Collective::broadcast, nodes.root_number());
        builder.include(phase(far, "binomial"),
                        {.ranks = nodes.fellow_carriers(), .input = share, .output = share});
    }
    if (!is_at_root) {
        Request gather = inside(request, nodes, Collective::all_gather);
        gather.in_place = true;
        builder.include(phase(gather, "staged"),
                        {.ranks = nodes.own(), .input = share, .output = output});
    }
    return std::move(builder).build();
}

/// The first rank of each node hears from the others, meets those of the other nodes, and tells.
Schedule barrier(const Request& request) {
    ScheduleBuilder builder(request);
    builder.meet_first();
    const Carriers nodes(request);
    if (nodes.local() > 0) {
        builder.signal(nodes.own()[0]);
        builder.wait(nodes.own()[0]);
        return std::move(builder).build();
    }
    const std::vector<int> others(nodes.own().begin() + 1, nodes.own().end());
    for (const int rank : others) builder.wait(rank);
    const Request meet{
        .collective = Collective::barrier, .rank = nodes.own_number(), .size = nodes.size()};
    const auto all = builder.include(
        phase(meet, "dissemination"),
        {.ranks = nodes.fellow_carriers(), .input = {}, .output = {}, .after_one_sided = true});
    for (const int rank : others) builder.signal(rank, {&all, 1});
    return std::move(builder).build();
}

constexpr std::string_view source = "Thakur, Rabenseifner and Gropp 2005; Jain et al. 2018";

constexpr Algorithm entry(Collective collective, std::string_view cost,
                          Schedule (*build)(const Request&)) {
    return {.collective = collective,
            .name = "hierarchical",
            .cost = cost,
            .source = source,
            .takes_counts = false,
            .pipelined = collective != Collective::barrier,
            .reach = Reach::stages,
            .spans_nodes = true,
            .build = build};
}

constexpr std::array<Algorithm, 4> table = {{
    entry(Collective::all_reduce, "staged inside; 2(n-1) alpha + 2(n-1)/n N/q beta between",
          all_reduce),
    entry(Collective::reduce, "staged inside; log2(n) (alpha + N/q beta) between", reduce),
    entry(Collective::broadcast, "staged inside; log2(n) (alpha + N/q beta) between", broadcast),
    entry(Collective::barrier, "2 sigma inside; log2(n) alpha between", barrier),
}};

}  // namespace

std::span<const Algorithm> hierarchical_algorithms() { return table; }

}  // namespace pycoll
