#pragma once

#include <compare>
#include <cstdint>

namespace pycoll {

/// The memory a schedule may name on its own rank. `scratch` is private to one execution.
enum class Buffer : std::uint8_t { input, output, scratch };

/// A run of elements inside a buffer. Counts and offsets are in elements, never in bytes,
/// so that a schedule does not depend on the data type.
struct Slice {
    Buffer buffer = Buffer::input;
    std::uint64_t offset = 0;
    std::uint64_t count = 0;

    [[nodiscard]] constexpr std::uint64_t end() const { return offset + count; }
    [[nodiscard]] constexpr bool empty() const { return count == 0; }

    /// The part that starts `skip` elements into this slice and is `length` elements long.
    [[nodiscard]] constexpr Slice part(std::uint64_t skip, std::uint64_t length) const {
        return {buffer, offset + skip, length};
    }

    [[nodiscard]] constexpr bool overlaps(const Slice& other) const {
        return buffer == other.buffer && offset < other.end() && other.offset < end();
    }

    auto operator<=>(const Slice&) const = default;
};

}  // namespace pycoll
