#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "schedule/schedule.hpp"

namespace pycoll::test {

/// One broken (or merely changed) schedule.
struct Mutant {
    std::string change;
    Schedule schedule;
    /// It cannot mean the same as before. For the others, brute force decides.
    bool is_wrong;
};

/// Calls `visit` with every mutant of step `i`: the step dropped, with other peers, other slices,
/// fewer dependencies, another kind of fold, twice, and swapped with steps that wait for it.
void visit_mutants(const Schedule& original, std::uint32_t i,
                   const std::function<void(const Mutant&)>& visit);

/// Calls `visit` with the mutants that change what the schedule says besides its steps.
void visit_header_mutants(const Schedule& original,
                          const std::function<void(const Mutant&)>& visit);

}  // namespace pycoll::test
