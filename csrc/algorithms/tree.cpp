#include "algorithms/tree.hpp"

#include <algorithm>
#include <ranges>

namespace pycoll {

TreeNode real(const TreeNode& node, const VirtualRanks& ranks) {
    TreeNode renumbered = node;
    if (!node.is_root()) renumbered.parent = ranks.real(node.parent);
    for (int& child : renumbered.children) child = ranks.real(child);
    return renumbered;
}

void reduce_up(ScheduleBuilder& builder, const TreeNode& node, const Slice& contribution,
               const Slice& sum) {
    using Fold = ScheduleBuilder::Fold;
    Slice so_far = contribution;
    for (const int child : node.children | std::views::reverse) {
        const bool last = node.is_root() && child == node.children.front();
        builder.recv_reduce(child, sum, so_far, last ? Fold::last : Fold::partial);
        so_far = sum;
    }
    if (!node.is_root()) {
        builder.send(node.parent, so_far);
    } else if (node.is_leaf()) {
        builder.copy(sum, contribution);
    }
}

void broadcast_down(ScheduleBuilder& builder, const TreeNode& node, const Slice& data) {
    if (!node.is_root()) builder.recv(node.parent, data);
    for (const int child : node.children) builder.send(child, data);
}

void reduce_to_root(ScheduleBuilder& builder, const TreeNode& node, const Slice& input,
                    std::uint64_t chunk) {
    // An inner node has no output to add up in. A few chunks of scratch, used in turn, keep the
    // pipeline full: as many as the engine keeps under way, 4 on their way in and 4 out.
    constexpr std::size_t most_sums = 8;
    const bool needs_scratch = !node.is_root() && !node.is_leaf();
    std::vector<Slice> sums;
    std::size_t i = 0;
    for (const Slice& piece : pieces(input, chunk)) {
        Slice sum{Buffer::output, piece.offset, piece.count};
        if (needs_scratch) {
            if (sums.size() < most_sums) sums.push_back(builder.scratch(piece.count));
            sum = sums[i++ % most_sums].part(0, piece.count);
        }
        reduce_up(builder, node, piece, sum);
    }
}

void broadcast_from_root(ScheduleBuilder& builder, const TreeNode& node, const Slice& output,
                         std::uint64_t chunk) {
    for (const Slice& piece : pieces(output, chunk)) {
        const Slice input{Buffer::input, piece.offset, piece.count};
        broadcast_down(builder, node, node.is_root() ? input : piece);
        if (node.is_root()) builder.copy(piece, input);
    }
}

std::vector<Slice> pieces(const Slice& slice, std::uint64_t chunk) {
    std::vector<Slice> all;
    const std::uint64_t longest = chunk == 0 ? slice.count : chunk;
    for (std::uint64_t skip = 0; skip < slice.count; skip += longest) {
        all.push_back(slice.part(skip, std::min(longest, slice.count - skip)));
    }
    return all;
}

}  // namespace pycoll
