#pragma once

#include <cstdint>
#include <span>
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

/// The part of the vector that goes through one tree, in chunks.
struct TreeShare {
    TreeNode node;
    std::uint64_t offset;
    std::uint64_t count;
    /// Elements of a chunk, the last of which may be shorter; 0: all in one.
    std::uint64_t chunk;

    [[nodiscard]] std::size_t chunks() const;
    /// Chunk `i` in a buffer that holds the whole vector; empty if there is no such chunk.
    [[nodiscard]] Slice piece(Buffer buffer, std::size_t i) const;
};

/// Collective::reduce over one or more trees at once, a chunk of each in turn.
void reduce_to_root(ScheduleBuilder& builder, std::span<const TreeShare> trees);

/// Collective::broadcast over one or more trees at once, a chunk of each in turn.
void broadcast_from_root(ScheduleBuilder& builder, std::span<const TreeShare> trees);

}  // namespace pycoll
