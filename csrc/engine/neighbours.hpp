#pragma once

#include <memory>
#include <vector>

#include "transport/shared/node.hpp"

namespace pycoll {

/// The ranks of a communicator that share a node with this one, and what they share.
class Neighbours {
public:
    /// `ranks`: the ranks of the node, this one among them, in the order of the node's numbering.
    Neighbours(std::unique_ptr<SharedNode> node, std::vector<int> ranks, int size)
        : node_(std::move(node)),
          ranks_(std::move(ranks)),
          local_(static_cast<std::size_t>(size), -1) {
        for (std::size_t i = 0; i < ranks_.size(); ++i) {
            local_[static_cast<std::size_t>(ranks_[i])] = static_cast<int>(i);
        }
    }

    [[nodiscard]] SharedNode& node() const { return *node_; }
    [[nodiscard]] const std::vector<int>& ranks() const { return ranks_; }
    /// The number of a rank on the node; -1 if it lives elsewhere.
    [[nodiscard]] int local(int rank) const { return local_[static_cast<std::size_t>(rank)]; }
    /// Are all ranks of the communicator here?
    [[nodiscard]] bool are_all() const { return ranks_.size() == local_.size(); }

private:
    std::unique_ptr<SharedNode> node_;
    std::vector<int> ranks_;
    std::vector<int> local_;
};

}  // namespace pycoll
