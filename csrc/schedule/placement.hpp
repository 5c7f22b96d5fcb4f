#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "schedule/request.hpp"
#include "schedule/schedule.hpp"

namespace pycoll {

/// Where a rank's input and output really lie, given that they may share memory.
struct Placement {
    explicit Placement(const Request& request, std::uint64_t scratch = 0, std::uint64_t stage = 0);

    /// The memory that an algorithm calls by this name: of buffers that share memory, there is the
    /// larger one only.
    [[nodiscard]] Slice real(Slice slice) const;

    [[nodiscard]] std::uint64_t size(Buffer buffer) const {
        return sizes[static_cast<std::size_t>(buffer)];
    }

    Slice input;
    Slice output;
    /// The part of the input buffer that may be written.
    Slice writable_input{Buffer::input, 0, 0};
    /// Elements of each buffer that steps may name.
    std::array<std::uint64_t, buffer_count> sizes{};
};

/// Why a schedule makes no sense by itself (a slice outside its buffer, a peer that does not exist,
/// a write to the input, ...), if so. `places` are those of all ranks.
[[nodiscard]] std::optional<std::string> find_malformed_step(const Schedule& schedule,
                                                             std::span<const Placement> places);

}  // namespace pycoll
