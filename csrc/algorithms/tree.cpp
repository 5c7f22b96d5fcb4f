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

std::size_t TreeShare::chunks() const {
    if (count == 0) return 0;
    return chunk == 0 ? 1 : static_cast<std::size_t>((count - 1) / chunk + 1);
}

Slice TreeShare::piece(Buffer buffer, std::size_t i) const {
    if (i >= chunks()) return {buffer, offset, 0};
    const std::uint64_t skip = i * chunk;
    const std::uint64_t rest = count - skip;
    return {buffer, offset + skip, chunk == 0 ? rest : std::min(chunk, rest)};
}

namespace {

std::size_t most_chunks(std::span<const TreeShare> trees) {
    std::size_t most = 0;
    for (const TreeShare& tree : trees) most = std::max(most, tree.chunks());
    return most;
}

/// Where a rank adds up its subtree's contributions to each chunk of a reduce. An inner node has no
/// output to do so. A few chunks of scratch, used in turn, keep its pipeline full.
class Sums {
public:
    Sums(ScheduleBuilder& builder, const TreeShare& tree) : tree_(tree) {
        if (tree.node.is_root() || tree.node.is_leaf()) return;
        for (std::size_t i = 0; i < std::min(most, tree.chunks()); ++i) {
            places_.push_back(builder.scratch(tree.piece(Buffer::input, i).count));
        }
    }

    [[nodiscard]] Slice of(std::size_t chunk) const {
        const Slice output = tree_.piece(Buffer::output, chunk);
        if (places_.empty() || output.empty()) return output;
        return places_[chunk % places_.size()].part(0, output.count);
    }

private:
    /// As many as an engine keeps under way: 4 on their way in and 4 out.
    static constexpr std::size_t most = 8;

    const TreeShare& tree_;
    std::vector<Slice> places_;
};

}  // namespace

void reduce_to_root(ScheduleBuilder& builder, std::span<const TreeShare> trees) {
    std::vector<Sums> sums;
    for (const TreeShare& tree : trees) sums.emplace_back(builder, tree);
    for (std::size_t i = 0; i < most_chunks(trees); ++i) {
        for (std::size_t t = 0; t < trees.size(); ++t) {
            reduce_up(builder, trees[t].node, trees[t].piece(Buffer::input, i), sums[t].of(i));
        }
    }
}

void broadcast_from_root(ScheduleBuilder& builder, std::span<const TreeShare> trees) {
    for (std::size_t i = 0; i < most_chunks(trees); ++i) {
        for (const TreeShare& tree : trees) {
            const bool is_root = tree.node.is_root();
            const Slice output = tree.piece(Buffer::output, i);
            const Slice input = tree.piece(Buffer::input, i);
            broadcast_down(builder, tree.node, is_root ? input : output);
            if (is_root) builder.copy(output, input);
        }
    }
}

}  // namespace pycoll
