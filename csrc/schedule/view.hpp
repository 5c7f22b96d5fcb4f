#pragma once

#include <cstdint>
#include <vector>

#include "core/slice.hpp"

namespace pycoll {

/// Elements that lie in pieces: some slices, one after the other, taken for one run.
class View {
public:
    View() = default;
    /// One piece. Not explicit: a slice is the simplest view.
    View(const Slice& slice) { add(slice); }  // NOLINT(misc-explicit-constructor)

    /// Appends a piece.
    void add(const Slice& slice);
    [[nodiscard]] std::uint64_t count() const { return offsets_.back(); }
    /// The pieces of `length` elements from `skip` on. Throws std::logic_error if it has fewer.
    [[nodiscard]] std::vector<Slice> part(std::uint64_t skip, std::uint64_t length) const;

private:
    std::vector<Slice> pieces_;
    /// Where each piece begins in the run, and where the last one ends.
    std::vector<std::uint64_t> offsets_ = {0};
};

}  // namespace pycoll
