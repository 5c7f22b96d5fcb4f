#pragma once

#include <optional>
#include <span>
#include <string>

#include "schedule/placement.hpp"
#include "schedule/schedule.hpp"

namespace pycoll {

/// Two steps of one rank that touch the same element, at least one writing, with no chain of
/// dependencies between them; std::nullopt if there are none. Only dependencies of the rank itself
/// count: that a message has arrived does not tell its sender that the buffer is free. `places` are
/// those of all ranks: two names of a peer's memory may mean the same.
[[nodiscard]] std::optional<std::string> find_hazard(const Schedule& schedule,
                                                     std::span<const Placement> places);

}  // namespace pycoll
