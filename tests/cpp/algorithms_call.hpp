#pragma once

#include <string>
#include <vector>

#include "algorithms/algorithms.hpp"
#include "schedule/request.hpp"
#include "schedule/schedule.hpp"

namespace pycoll::test {

/// One collective call as all its ranks see it.
struct WholeCall {
    std::vector<Request> requests;
    std::vector<Schedule> schedules;
};

/// The call of all ranks that agree on `shared`.
inline WholeCall whole_call(const Algorithm& algorithm, Request shared) {
    WholeCall call;
    shared.collective = algorithm.collective;
    for (shared.rank = 0; shared.rank < shared.size; ++shared.rank) {
        call.requests.push_back(shared);
        call.schedules.push_back(algorithm.build(shared));
    }
    return call;
}

/// The call of requests that differ in more than the rank.
inline WholeCall call_of_ranks(const Algorithm& algorithm, std::vector<Request> requests) {
    WholeCall call;
    for (const Request& request : requests) call.schedules.push_back(algorithm.build(request));
    call.requests = std::move(requests);
    return call;
}

[[nodiscard]] inline bool can_run_in_place(Collective collective) {
    return collective != Collective::all_to_all && collective != Collective::barrier;
}

/// "all_reduce ring"
[[nodiscard]] inline std::string name_of(const Algorithm& algorithm) {
    return std::string(name(algorithm.collective)) + " " + std::string(algorithm.name);
}

/// "size 5, count 7, root 2, chunk 3, in place"
[[nodiscard]] inline std::string describe(const Request& request) {
    std::string text = "size " + std::to_string(request.size) + ", count " +
                       std::to_string(request.count) + ", root " + std::to_string(request.root) +
                       ", chunk " + std::to_string(request.chunk) +
                       (request.in_place ? ", in place" : "");
    if (!request.counts.empty()) text += ", counts";
    for (const std::uint64_t count : request.counts) text += " " + std::to_string(count);
    return text;
}

}  // namespace pycoll::test
