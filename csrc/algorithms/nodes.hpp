#pragma once

#include <string_view>
#include <vector>

#include "algorithms/algorithms.hpp"
#include "schedule/request.hpp"

namespace pycoll {

/// The ranks by nodes, and where one of them stands. What the hierarchical algorithms start from.
class Nodes {
public:
    explicit Nodes(const Request& request);

    [[nodiscard]] int size() const { return static_cast<int>(nodes_.size()); }
    /// The ranks of a node, in rising order.
    [[nodiscard]] const std::vector<int>& ranks(int node) const { return nodes_[at(node)]; }
    [[nodiscard]] int count(int node) const { return static_cast<int>(ranks(node).size()); }
    [[nodiscard]] int rank(int node, int local) const { return ranks(node)[at(local)]; }
    /// Ranks of the smallest and of the largest node.
    [[nodiscard]] int fewest() const { return fewest_; }
    [[nodiscard]] int most() const { return most_; }

    /// This rank's node: its number, its ranks, and this rank's number among them.
    [[nodiscard]] int own_number() const { return own_; }
    [[nodiscard]] const std::vector<int>& own() const { return nodes_[at(own_)]; }
    [[nodiscard]] int local() const { return local_; }
    /// The root's node: its number, and the root's number among its ranks.
    [[nodiscard]] int root_number() const { return root_; }
    [[nodiscard]] int local_root() const { return local_root_; }
    [[nodiscard]] bool is_at_root() const { return own_ == root_; }

private:
    static std::size_t at(int i) { return static_cast<std::size_t>(i); }

    std::vector<std::vector<int>> nodes_;
    int own_ = 0;
    int local_ = 0;
    int root_ = 0;
    int local_root_ = 0;
    int fewest_ = 0;
    int most_ = 0;
};

/// The schedule of one phase.
[[nodiscard]] Schedule phase(const Request& request, std::string_view algorithm);

/// The whole call where there is no second level.
[[nodiscard]] Schedule on_one_node(Request request);

/// Below so many elements, a phase between nodes takes the algorithm with the fewest messages:
/// 16 KiB of float32, about what a network carries in the time of one (see pycoll/cost.py).
inline constexpr std::uint64_t few_elements = 4096;

}  // namespace pycoll
