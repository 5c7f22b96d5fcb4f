#pragma once

#include <bit>

#include "algorithms/virtual_ranks.hpp"

namespace pycoll {

/// The largest hypercube (2^dimensions nodes) that the ranks can form. Of 2^d + e ranks, the odd
/// ones of the first 2e are guests: the rank before each is its host and acts for both. A node thus
/// acts for one rank or two, and neighbouring nodes for neighbouring ranks.
class Hypercube {
public:
    explicit Hypercube(const VirtualRanks& ranks)
        : ranks_(ranks),
          nodes_(static_cast<int>(std::bit_floor(static_cast<unsigned>(ranks.size())))),
          guests_(ranks.size() - nodes_) {}

    [[nodiscard]] int dimensions() const { return std::countr_zero(static_cast<unsigned>(nodes_)); }
    [[nodiscard]] bool is_guest() const { return in_pair() && ranks_.rank() % 2 == 1; }
    [[nodiscard]] bool is_host() const { return in_pair() && ranks_.rank() % 2 == 0; }
    /// The other rank of a guest and its host.
    [[nodiscard]] int host() const { return ranks_.real(ranks_.rank() - 1); }
    [[nodiscard]] int guest() const { return ranks_.real(ranks_.rank() + 1); }

    /// This rank's node; for a guest, its host's.
    [[nodiscard]] int node() const {
        return in_pair() ? ranks_.rank() / 2 : ranks_.rank() - guests_;
    }
    /// The rank at the other end of the edge in a dimension.
    [[nodiscard]] int neighbour(int dimension) const {
        return ranks_.real(first_rank(node() ^ (1 << dimension)));
    }
    /// Is this rank at the upper end of that edge?
    [[nodiscard]] bool is_upper(int dimension) const { return (node() >> dimension & 1) != 0; }

    /// A node acts for the virtual ranks [first_rank(node), first_rank(node + 1)).
    [[nodiscard]] int first_rank(int node) const {
        return node < guests_ ? 2 * node : node + guests_;
    }

private:
    [[nodiscard]] bool in_pair() const { return ranks_.rank() < 2 * guests_; }

    VirtualRanks ranks_;
    int nodes_;
    int guests_;
};

}  // namespace pycoll
