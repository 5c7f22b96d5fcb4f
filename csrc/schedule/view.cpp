#include "schedule/view.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace pycoll {

void View::add(const Slice& slice) {
    if (slice.empty()) return;
    if (!pieces_.empty()) {
        Slice& last = pieces_.back();
        const bool follows =
            last.buffer == slice.buffer && last.owner == slice.owner && last.end() == slice.offset;
        if (follows) {
            last.count += slice.count;
            offsets_.back() += slice.count;
            return;
        }
    }
    pieces_.push_back(slice);
    offsets_.push_back(offsets_.back() + slice.count);
}

std::vector<Slice> View::part(std::uint64_t skip, std::uint64_t length) const {
    if (length == 0) return {};
    if (skip > count() || length > count() - skip) {
        throw std::logic_error("a view of " + std::to_string(count()) + " elements has no " +
                               std::to_string(length) + " behind the first " +
                               std::to_string(skip));
    }
    std::vector<Slice> found;
    const std::uint64_t end = skip + length;
    auto piece =
        static_cast<std::size_t>(std::ranges::upper_bound(offsets_, skip) - offsets_.begin() - 1);
    for (std::uint64_t at = skip; at < end; ++piece) {
        const std::uint64_t next = std::min(end, offsets_[piece + 1]);
        found.push_back(pieces_[piece].part(at - offsets_[piece], next - at));
        at = next;
    }
    return found;
}

}  // namespace pycoll
