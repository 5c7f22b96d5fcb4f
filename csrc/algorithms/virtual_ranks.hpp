#pragma once

#include "schedule/request.hpp"

namespace pycoll {

/// The ranks in a circle, renumbered so that the root is 0; without a root, as they are.
class VirtualRanks {
public:
    explicit VirtualRanks(const Request& request)
        : size_(request.size),
          root_(rooted(request.collective) ? request.root : 0),
          rank_(wrap(request.rank - root_)) {}

    [[nodiscard]] int size() const { return size_; }
    /// This rank's own number.
    [[nodiscard]] int rank() const { return rank_; }
    /// The number at position `position` of the circle, whatever its laps and sign.
    [[nodiscard]] int wrap(int position) const { return (position % size_ + size_) % size_; }
    /// The rank, as messages and blocks know it, at that position.
    [[nodiscard]] int real(int position) const { return wrap(position + root_); }

private:
    int size_;
    int root_;
    int rank_;
};

}  // namespace pycoll
