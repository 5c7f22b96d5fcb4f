#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "schedule/request.hpp"
#include "schedule/schedule.hpp"

namespace pycoll {

/// Proves that the schedules of all ranks together compute what the requests ask for, or says why
/// not. `requests[r]` and `schedules[r]` belong to rank r.
///
/// All ranks run on abstract values: an element is an expression over (rank, index) leaves. Proven
/// are, for every interleaving of the ranks and every message timing:
///  - every message meets one of equal length, and no cycle of waits exists even if every send
///    waits for its receiver and each channel carries one message at a time;
///  - no slice leaves its buffer, is read before it is written, or is accessed by two unordered
///    steps, of one rank or of several, of which one writes; the input is never written (unless it
///    shares its memory);
///  - a rank's arrays are not touched by its peers before it has entered the call or after it has
///    left, and where the ranks do not meet first, none leaves before all have entered;
///  - each output element is the fold of exactly one contribution per rank, or the one element
///    that belongs there, and the last fold, and only it, is marked `finish`;
///  - for all_reduce, every rank folds in the same order, hence ends with the same bits.
///
/// Returns std::nullopt when proven, else a sentence naming the rank and the step.
[[nodiscard]] std::optional<std::string> verify(std::span<const Request> requests,
                                                std::span<const Schedule> schedules);

}  // namespace pycoll
