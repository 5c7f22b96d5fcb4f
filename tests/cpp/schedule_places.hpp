#pragma once

#include <vector>

#include "core/slice.hpp"
#include "schedule/request.hpp"

namespace pycoll::test {

/// Where a rank's input and output lie, given that they may share memory.
[[nodiscard]] Slice input_place(const Request& request);
[[nodiscard]] Slice output_place(const Request& request);
/// The memory that `rank` calls `slice`, whose owner is named. Its own memory goes by its real name
/// already, that of its peers does not: a rank need not know who is in place.
[[nodiscard]] Slice real_place(const std::vector<Request>& requests, int rank, const Slice& slice);

}  // namespace pycoll::test
