#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fake_cuda {

/// A line of things that happen one after the other: the host's is 0, every stream has its own.
using Timeline = std::size_t;
inline constexpr Timeline host_timeline = 0;

/// A vector clock: how far each timeline is known to have come.
class Clock {
public:
    [[nodiscard]] std::uint64_t at(Timeline timeline) const {
        return timeline < ticks_.size() ? ticks_[timeline] : 0;
    }
    std::uint64_t advance(Timeline timeline) {
        if (timeline >= ticks_.size()) ticks_.resize(timeline + 1);
        return ++ticks_[timeline];
    }
    /// Knows from now on what the other one knows, too.
    void join(const Clock& other) {
        if (ticks_.size() < other.ticks_.size()) ticks_.resize(other.ticks_.size());
        for (Timeline i = 0; i < other.ticks_.size(); ++i) {
            ticks_[i] = std::max(ticks_[i], other.ticks_[i]);
        }
    }
    /// Is there nothing in it to learn from the other one?
    [[nodiscard]] bool knows(const Clock& other) const {
        for (Timeline i = 0; i < other.ticks_.size(); ++i) {
            if (at(i) < other.ticks_[i]) return false;
        }
        return true;
    }

private:
    std::vector<std::uint64_t> ticks_;
};

}  // namespace fake_cuda
