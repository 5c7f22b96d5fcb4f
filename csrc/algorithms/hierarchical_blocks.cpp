// Hierarchical, for the collectives that move a block of each rank: inside each node through shared
// memory, between nodes by messages. The ranks of all nodes that have the same number there form a
// row, and a block crosses between nodes in the row of the rank that it belongs to: to the nodes of
// a reduce-scatter, scatter or all-to-all once those inside have met, from those of an all-gather
// or gather before. So all ranks of a node carry a part, and each row runs an algorithm over
// messages. Where a node has fewer ranks than there are rows, its ranks stand in several rows in
// turn; blocks are missing then, hence empty, and the other rows lose no time.
//
// Cost: between n nodes of q ranks, every rank sends (n-1)/n N/q bytes: every block enters each
// node that needs it once, which is the least there is. all_to_all sends n-1 messages per rank in
// place of p-1, of q blocks each. Source: Traeff and Hunold 2020, Decomposing MPI Collectives for
// Exploiting Multi-lane Communication, IEEE CLUSTER, for the rows ("lanes"); Jain et al. 2018 (see
// staged.cpp) for shared memory below messages.
#include <algorithm>
#include <array>
#include <functional>
#include <string_view>
#include <vector>

#include "algorithms/families.hpp"
#include "algorithms/nodes.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

/// Where the block of a rank lies.
using BlockAt = std::function<Slice(int rank)>;

/// The nodes, and the rows that carry blocks between them.
class Rows : public Nodes {
public:
    explicit Rows(const Request& request) : Nodes(request), request_(request) {}

    [[nodiscard]] Blocks blocks() const { return request_.blocks(); }
    [[nodiscard]] bool has_block(int row, int node) const { return row < count(node); }
    /// The rows in which this rank stands, its own first: of the others it has no block.
    [[nodiscard]] std::vector<int> served() const { return served_by(local()); }
    [[nodiscard]] bool is_own(int row) const { return row == local(); }
    /// Who stands in a row, by node.
    [[nodiscard]] std::vector<int> members(int row) const {
        std::vector<int> ranks;
        for (int node = 0; node < size(); ++node) ranks.push_back(rank(node, row % count(node)));
        return ranks;
    }
    /// The ranks whose blocks pass through a rank of this node, in the order in which a ring brings
    /// them: this node's, then those of the nodes before it.
    [[nodiscard]] std::vector<int> carried_by(int local) const {
        std::vector<int> ranks;
        for (const int row : served_by(local)) {
            for (int back = 0; back < size(); ++back) {
                const int node = (own_number() - back + size()) % size();
                if (has_block(row, node)) ranks.push_back(rank(node, row));
            }
        }
        return ranks;
    }
    [[nodiscard]] std::vector<int> carried() const { return carried_by(local()); }
    /// The same for all ranks of this node, one after the other.
    [[nodiscard]] std::vector<int> carried_by_all() const {
        std::vector<int> all;
        for (int local = 0; local < count(own_number()); ++local) {
            const std::vector<int> ranks = carried_by(local);
            all.insert(all.end(), ranks.begin(), ranks.end());
        }
        return all;
    }

    /// The request of a phase inside this node: what passes through each of its ranks.
    [[nodiscard]] Request inside(Collective collective) const {
        const Blocks all = blocks();
        Request request{.collective = collective,
                        .rank = local(),
                        .size = count(own_number()),
                        .root = is_at_root() ? local_root() : 0,
                        .chunk = request_.chunk};
        for (int local = 0; local < request.size; ++local) {
            std::uint64_t sum = 0;
            for (const int rank : carried_by(local)) sum += all.count(rank);
            request.counts.push_back(sum);
        }
        return request;
    }
    /// The request of a row: the blocks that belong to it.
    [[nodiscard]] Request between(Collective collective, int row) const {
        const Blocks all = blocks();
        Request request{.collective = collective,
                        .rank = own_number(),
                        .size = size(),
                        .root = root_number(),
                        .chunk = request_.chunk};
        for (int node = 0; node < size(); ++node) {
            request.counts.push_back(has_block(row, node) ? all.count(rank(node, row)) : 0);
        }
        return request;
    }
    /// The blocks of a row, by node.
    [[nodiscard]] View of_row(int row, const BlockAt& at) const {
        View view;
        for (int node = 0; node < size(); ++node) {
            if (has_block(row, node)) view.add(at(rank(node, row)));
        }
        return view;
    }

private:
    [[nodiscard]] std::vector<int> served_by(int local) const {
        std::vector<int> rows;
        for (int row = local; row < most(); row += count(own_number())) rows.push_back(row);
        return rows;
    }

    const Request& request_;
};

View view_of(const std::vector<int>& ranks, const BlockAt& at) {
    View view;
    for (const int rank : ranks) view.add(at(rank));
    return view;
}

/// Places for the blocks that pass through this rank, one after the other.
BlockAt scratch_for(ScheduleBuilder& builder, const Rows& rows) {
    const Blocks blocks = rows.blocks();
    std::vector<Slice> places(static_cast<std::size_t>(blocks.size()));
    for (const int rank : rows.carried()) {
        places[static_cast<std::size_t>(rank)] = builder.scratch(blocks.count(rank));
    }
    return [places](int rank) { return places[static_cast<std::size_t>(rank)]; };
}

/// Few messages for short blocks, each straight to where it is wanted for long ones.
std::string_view row_algorithm(const Request& row) {
    const auto nodes = static_cast<std::uint64_t>(row.size);
    const bool is_short = row.blocks().total() / nodes < few_elements;
    switch (row.collective) {
        case Collective::all_gather:
            return is_short ? "bruck" : "ring";
        case Collective::reduce_scatter:
            return is_short ? "recursive_halving" : "ring";
        case Collective::gather:
        case Collective::scatter:
            return is_short ? "binomial" : "linear";
        default:
            return "pairwise";
    }
}

BlockAt in(const Blocks& blocks, Buffer buffer) {
    return [blocks, buffer](int rank) { return blocks.in(buffer, rank); };
}

/// This rank's block, where a buffer holds nothing else.
Slice own_block(const Request& request, Buffer buffer) {
    return {buffer, 0, request.blocks().count(request.rank)};
}

Schedule all_gather(const Request& request) {
    const Rows rows(request);
    if (rows.size() == 1) return on_one_node(request);
    ScheduleBuilder builder(request);
    builder.meet_first();
    const BlockAt output = in(rows.blocks(), Buffer::output);
    for (const int row : rows.served()) {
        const Request far = rows.between(Collective::all_gather, row);
        builder.include(phase(far, row_algorithm(far)),
                        {.ranks = rows.members(row),
                         .input = rows.is_own(row) ? own_block(request, Buffer::input) : Slice{},
                         .output = rows.of_row(row, output)});
    }
    builder.include(phase(rows.inside(Collective::all_gather), "staged"),
                    {.ranks = rows.own(),
                     .input = view_of(rows.carried(), output),
                     .output = view_of(rows.carried_by_all(), output)});
    return std::move(builder).build();
}

Schedule reduce_scatter(const Request& request) {
    const Rows rows(request);
    if (rows.size() == 1) return on_one_node(request);
    ScheduleBuilder builder(request);
    builder.meet_first();
    const BlockAt input = in(rows.blocks(), Buffer::input);
    // A rank alone on its node has nobody to fold with.
    const BlockAt sums = rows.own().size() == 1 ? input : scratch_for(builder, rows);
    builder.include(phase(rows.inside(Collective::reduce_scatter), "staged"),
                    {.ranks = rows.own(),
                     .input = view_of(rows.carried_by_all(), input),
                     .output = view_of(rows.carried(), sums),
                     .finishes = false});
    for (const int row : rows.served()) {
        const Request far = rows.between(Collective::reduce_scatter, row);
        builder.include(
            phase(far, row_algorithm(far)),
            {.ranks = rows.members(row),
             .input = rows.of_row(row, sums),
             .output = rows.is_own(row) ? own_block(request, Buffer::output) : Slice{}});
    }
    return std::move(builder).build();
}

/// The ranks of the root's node collect what comes from other nodes.
Schedule gather(const Request& request) {
    const Rows rows(request);
    if (rows.size() == 1) return on_one_node(request);
    ScheduleBuilder builder(request);
    builder.meet_first();
    const BlockAt output = in(rows.blocks(), Buffer::output);
    const Slice own = own_block(request, Buffer::input);
    BlockAt held = output;
    if (!request.is_root()) {
        held = [own, &request,
                other = rows.is_at_root() ? scratch_for(builder, rows) : BlockAt(output)](
                   int rank) { return rank == request.rank ? own : other(rank); };
    }
    for (const int row : rows.served()) {
        const Request far = rows.between(Collective::gather, row);
        builder.include(phase(far, row_algorithm(far)),
                        {.ranks = rows.members(row),
                         .input = rows.is_own(row) ? own : Slice{},
                         .output = rows.is_at_root() ? rows.of_row(row, held) : View{}});
    }
    if (rows.is_at_root()) {
        builder.include(
            phase(rows.inside(Collective::gather), "staged"),
            {.ranks = rows.own(),
             .input = view_of(rows.carried(), held),
             .output = request.is_root() ? view_of(rows.carried_by_all(), output) : View{}});
    }
    return std::move(builder).build();
}

/// The ranks of the root's node pass on what is for other nodes.
Schedule scatter(const Request& request) {
    const Rows rows(request);
    if (rows.size() == 1) return on_one_node(request);
    ScheduleBuilder builder(request);
    builder.meet_first();
    const BlockAt input = in(rows.blocks(), Buffer::input);
    const Slice own = own_block(request, Buffer::output);
    BlockAt held = input;
    if (rows.is_at_root()) {
        held = [own, &request, other = request.is_root() ? input : scratch_for(builder, rows)](
                   int rank) { return rank == request.rank ? own : other(rank); };
        builder.include(
            phase(rows.inside(Collective::scatter), "staged"),
            {.ranks = rows.own(),
             .input = request.is_root() ? view_of(rows.carried_by_all(), input) : View{},
             .output = view_of(rows.carried(), held)});
    }
    for (const int row : rows.served()) {
        const Request far = rows.between(Collective::scatter, row);
        builder.include(phase(far, row_algorithm(far)),
                        {.ranks = rows.members(row),
                         .input = rows.is_at_root() ? rows.of_row(row, held) : View{},
                         .output = rows.is_own(row) ? own : Slice{}});
    }
    return std::move(builder).build();
}

/// First all blocks go to the rank of their node that stands in the receiver's row, which then
/// sends all that its node has for the receiver at once.
Schedule all_to_all(const Request& request) {
    const Rows rows(request);
    if (rows.size() == 1) return on_one_node(request);
    ScheduleBuilder builder(request);
    builder.meet_first();
    const BlockAt input = in(rows.blocks(), Buffer::input);
    const BlockAt output = in(rows.blocks(), Buffer::output);
    const auto local_ranks = static_cast<std::uint64_t>(rows.own().size());

    // What the ranks of this node have for one rank, in their order.
    std::vector<Slice> packs(static_cast<std::size_t>(request.size));
    for (const int to : rows.carried()) {
        if (to == request.rank) continue;
        packs[static_cast<std::size_t>(to)] =
            local_ranks == 1 ? input(to) : builder.scratch(local_ranks * request.count);
    }
    Request near = rows.inside(Collective::all_to_all);
    near.recv_counts.assign(rows.own().size(), near.counts[static_cast<std::size_t>(near.rank)]);
    View arriving;
    for (std::size_t i = 0; i < rows.own().size(); ++i) {
        for (const int to : rows.carried()) {
            arriving.add(to == request.rank ? output(rows.own()[i])
                                            : packs[static_cast<std::size_t>(to)].part(
                                                  i * request.count, request.count));
        }
    }
    builder.include(
        phase(near, "staged"),
        {.ranks = rows.own(), .input = view_of(rows.carried_by_all(), input), .output = arriving});

    for (const int row : rows.served()) {
        Request far{.collective = Collective::all_to_all,
                    .rank = rows.own_number(),
                    .size = rows.size(),
                    .chunk = request.chunk};
        View leaving;
        View received;
        for (int node = 0; node < rows.size(); ++node) {
            const bool is_far = node != rows.own_number();
            const bool takes = is_far && rows.has_block(row, node);
            far.counts.push_back(takes ? local_ranks * request.count : 0);
            if (takes) leaving.add(packs[static_cast<std::size_t>(rows.rank(node, row))]);
            const bool gets = is_far && rows.is_own(row);
            const auto senders = static_cast<std::uint64_t>(rows.count(node));
            far.recv_counts.push_back(gets ? senders * request.count : 0);
            if (!gets) continue;
            for (const int from : rows.ranks(node)) received.add(output(from));
        }
        builder.include(phase(far, row_algorithm(far)),
                        {.ranks = rows.members(row), .input = leaving, .output = received});
    }
    return std::move(builder).build();
}

constexpr std::string_view source = "Traeff and Hunold 2020, CLUSTER; Jain et al. 2018";

constexpr Algorithm entry(Collective collective, std::string_view cost, bool takes_counts,
                          Schedule (*build)(const Request&)) {
    return {.collective = collective,
            .name = "hierarchical",
            .cost = cost,
            .source = source,
            .takes_counts = takes_counts,
            .pipelined = true,
            .reach = Reach::stages,
            .spans_nodes = true,
            .build = build};
}

constexpr std::array<Algorithm, 5> table = {{
    entry(Collective::reduce_scatter, "staged inside; (n-1) alpha + (n-1)/n N/q beta between", true,
          reduce_scatter),
    entry(Collective::all_gather, "staged inside; (n-1) alpha + (n-1)/n N/q beta between", true,
          all_gather),
    entry(Collective::gather, "staged inside; (n-1) alpha + (n-1)/n N/q beta between", true,
          gather),
    entry(Collective::scatter, "staged inside; (n-1) alpha + (n-1)/n N/q beta between", true,
          scatter),
    entry(Collective::all_to_all, "staged inside; (n-1) alpha + (n-1)/n N/p beta between", false,
          all_to_all),
}};

}  // namespace

std::span<const Algorithm> hierarchical_blocks_algorithms() { return table; }

}  // namespace pycoll
