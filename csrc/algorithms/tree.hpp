#pragma once

#include <vector>

#include "algorithms/virtual_ranks.hpp"
#include "schedule/builder.hpp"

namespace pycoll {

/// One rank's place in a tree.
struct TreeNode {
    static constexpr int none = -1;

    int parent = none;
    /// The largest subtree first.
    std::vector<int> children;

    [[nodiscard]] bool is_root() const { return parent == none; }
    [[nodiscard]] bool is_leaf() const { return children.empty(); }
};

/// The same node by the ranks' real numbers.
[[nodiscard]] TreeNode real(const TreeNode& node, const VirtualRanks& ranks);

/// Folds the contributions of all ranks towards the root: into `sum` there and at inner nodes,
/// whose children's sums come in one after the other, the smallest subtree first.
void reduce_up(ScheduleBuilder& builder, const TreeNode& node, const Slice& contribution,
               const Slice& sum);

/// Passes the root's data down to everybody.
void broadcast_down(ScheduleBuilder& builder, const TreeNode& node, const Slice& data);

/// Collective::reduce of a part of the vector, chunk by chunk: `input` folded into the same part of
/// the root's output, with little scratch on the way.
void reduce_to_root(ScheduleBuilder& builder, const TreeNode& node, const Slice& input,
                    std::uint64_t chunk);

/// Collective::broadcast of the part `output` of the vector, chunk by chunk.
void broadcast_from_root(ScheduleBuilder& builder, const TreeNode& node, const Slice& output,
                         std::uint64_t chunk);

/// A slice cut into pieces of `chunk` elements and a shorter last one; whole if `chunk` is 0.
[[nodiscard]] std::vector<Slice> pieces(const Slice& slice, std::uint64_t chunk);

}  // namespace pycoll
