#pragma once

#include <functional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "algorithms_call.hpp"
#include "check.hpp"
#include "schedule/builder.hpp"
#include "schedule/verify.hpp"

namespace pycoll::test {

using Build = std::function<void(ScheduleBuilder&)>;

inline constexpr Slice in{Buffer::input, 0, 4};
inline constexpr Slice out{Buffer::output, 0, 4};

/// A call of 4 elements in which each rank does what its builder says.
inline WholeCall call_of(Collective collective, const std::vector<Build>& ranks) {
    WholeCall call;
    for (std::size_t r = 0; r < ranks.size(); ++r) {
        const Request request{.collective = collective,
                              .rank = static_cast<int>(r),
                              .size = static_cast<int>(ranks.size()),
                              .count = 4};
        ScheduleBuilder builder(request);
        ranks[r](builder);
        call.requests.push_back(request);
        call.schedules.push_back(std::move(builder).build());
    }
    return call;
}

inline void check_rejected(const WholeCall& call, std::string_view part,
                           const std::source_location& where = std::source_location::current()) {
    const auto failure = verify(call.requests, call.schedules);
    check(failure.has_value(), "accepted, but: " + std::string(part), where);
    const std::string said = failure.value_or("");
    check(said.find(part) != std::string::npos,
          "rejected with '" + said + "', without '" + std::string(part) + "'", where);
}

}  // namespace pycoll::test
