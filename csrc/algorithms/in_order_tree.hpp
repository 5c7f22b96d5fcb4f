#pragma once

#include <algorithm>
#include <bit>

#include "algorithms/tree.hpp"

namespace pycoll {

/// The binary tree over nodes 1, ..., size - 1 whose in-order walk counts 1, 2, 3, ..., below node
/// 0, which has one child. A node's lowest set bit is its height: the odd nodes are the leaves.
/// Neighbours in the tree are near in number, hence mostly on one node of the machine.
[[nodiscard]] inline TreeNode in_order_node(int node, int size) {
    const int height = node == 0 ? 0 : node & -node;
    TreeNode found;
    if (node > 0) {
        // The half that lacks its upper part hangs from further down.
        const bool is_right = (node & (2 * height)) != 0 || node + height >= size;
        found.parent = is_right ? node - height : node + height;
        if (height > 1) found.children.push_back(node - height / 2);
    }
    const int reach = static_cast<int>(std::bit_floor(static_cast<unsigned>(size - 1 - node)));
    const int right = node == 0 ? reach : std::min(reach, height / 2);
    if (right > 0) found.children.push_back(node + right);
    return found;
}

}  // namespace pycoll
