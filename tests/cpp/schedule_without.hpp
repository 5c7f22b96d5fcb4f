#pragma once

#include <cstdint>

#include "algorithms_call.hpp"
#include "schedule/schedule.hpp"

namespace pycoll::test {

/// The schedule without step `i`. What waited for the step waits for what that waited for.
[[nodiscard]] Schedule without_step(const Schedule& original, std::uint32_t i);

/// Drops the k-th signal from one rank to another and what takes it. Returns whether there are
/// that many.
bool drop_signal(WholeCall& call, int from, int to, int k);

/// The call without the k-th signal from anybody to anybody and what takes them.
[[nodiscard]] WholeCall without_round(WholeCall call, int k);

}  // namespace pycoll::test
