#pragma once

#include <chrono>
#include <ctime>

namespace pycoll {

using Clock = std::chrono::steady_clock;

/// Some milliseconds behind, at a fifth of the price.
inline Clock::time_point coarse_now() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return Clock::time_point(std::chrono::seconds(now.tv_sec) +
                             std::chrono::nanoseconds(now.tv_nsec));
}

}  // namespace pycoll
