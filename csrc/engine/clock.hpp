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

/// How far it may be behind.
inline std::chrono::nanoseconds coarse_tick() {
    static const std::chrono::nanoseconds tick = [] {
        timespec resolution{};
        clock_getres(CLOCK_MONOTONIC_COARSE, &resolution);
        return std::chrono::seconds(resolution.tv_sec) +
               std::chrono::nanoseconds(resolution.tv_nsec);
    }();
    return tick;
}

}  // namespace pycoll
