#pragma once

#include <cstdint>

#include "schedule/schedule.hpp"

namespace pycoll {

/// Everybody shows `words` words to everybody, each straight to each: an all-gather in place.
///
/// A ring or a tree sends fewer messages. But then a rank that does not come keeps others from
/// passing on what they have, and nobody can tell who is missing.
[[nodiscard]] Schedule roll_call(int rank, int size, std::uint64_t words);

}  // namespace pycoll
