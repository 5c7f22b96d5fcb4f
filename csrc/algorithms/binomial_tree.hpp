#pragma once

#include <algorithm>
#include <bit>

#include "algorithms/tree.hpp"

namespace pycoll {

/// The nodes below and including `node` in the binomial tree over `size` nodes rooted at 0:
/// [node, binomial_end). A node's parent lacks its lowest set bit.
[[nodiscard]] inline int binomial_end(int node, int size) {
    return node == 0 ? size : std::min(node + (node & -node), size);
}

[[nodiscard]] inline TreeNode binomial_node(int node, int size) {
    TreeNode found;
    if (node > 0) found.parent = node & (node - 1);
    const auto below = static_cast<unsigned>(binomial_end(node, size) - node - 1);
    for (int reach = static_cast<int>(std::bit_floor(below)); reach > 0; reach /= 2) {
        found.children.push_back(node + reach);
    }
    return found;
}

}  // namespace pycoll
