#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace pycoll {

/// The memory a schedule may name. `scratch` is private to one execution; `stage` is the rank's
/// share of the memory that all ranks of its node see. Where a node's ranks see each other's input
/// and output, too, a schedule may name those of its peers.
enum class Buffer : std::uint8_t { input, output, scratch, stage };
inline constexpr std::size_t buffer_count = 4;

/// A run of elements inside a buffer. Counts and offsets are in elements, never in bytes,
/// so that a schedule does not depend on the data type.
struct Slice {
    /// In place of a rank: the one that executes the schedule.
    static constexpr int own = -1;

    Buffer buffer = Buffer::input;
    std::uint64_t offset = 0;
    std::uint64_t count = 0;
    /// Whose memory it is.
    int owner = own;

    [[nodiscard]] constexpr std::uint64_t end() const { return offset + count; }
    [[nodiscard]] constexpr bool empty() const { return count == 0; }

    /// The part that starts `skip` elements into this slice and is `length` elements long.
    [[nodiscard]] constexpr Slice part(std::uint64_t skip, std::uint64_t length) const {
        return {buffer, offset + skip, length, owner};
    }
    /// The same place in the memory of another rank.
    [[nodiscard]] constexpr Slice of(int rank) const { return {buffer, offset, count, rank}; }

    [[nodiscard]] constexpr bool overlaps(const Slice& other) const {
        return owner == other.owner && buffer == other.buffer && offset < other.end() &&
               other.offset < end();
    }

    auto operator<=>(const Slice&) const = default;
};

}  // namespace pycoll
