#pragma once

#include <optional>
#include <string>
#include <vector>

#include "schedule/request.hpp"
#include "schedule/schedule.hpp"

namespace pycoll::test {

/// Decides what verify() decides, by brute force: tries every pair of accesses of all ranks for a
/// race and executes the schedules once where every message waits for its receiver. Says what is
/// wrong, if something is.
[[nodiscard]] std::optional<std::string> find_fault(const std::vector<Request>& requests,
                                                    const std::vector<Schedule>& schedules);

}  // namespace pycoll::test
