#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "engine/neighbours.hpp"
#include "transport/shared/segment.hpp"

namespace pycoll {

/// The ranks of a node, by a segment that all of them have attached. `ranks` are their numbers in
/// the communicator of `size` ranks in which this one is `rank`; `processes` their processes.
[[nodiscard]] std::unique_ptr<Neighbours> neighbours(const std::shared_ptr<Segment>& segment,
                                                     const std::vector<int>& ranks,
                                                     std::vector<pid_t> processes, int rank,
                                                     int size);

}  // namespace pycoll
