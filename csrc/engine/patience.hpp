#pragma once

#include <sched.h>

#include <chrono>
#include <thread>

namespace pycoll {

/// How to wait for a peer: spin while it may answer at once, then let other ranks have the core,
/// then sleep. Ranks that outnumber the cores never spin: the peer they wait for needs the core.
class Patience {
public:
    explicit Patience(bool oversubscribed) : spins_(oversubscribed ? 0 : 2000) {}

    /// Something moved: the next thing may come soon.
    void reset() { rounds_ = 0; }

    /// Between two looks.
    void pause() {
        if (rounds_ < spins_) {
            ++rounds_;
            return;
        }
        const auto now = std::chrono::steady_clock::now();
        if (rounds_ == spins_) {
            ++rounds_;
            yield_until_ = now + yielding;
        }
        if (now < yield_until_) {
            sched_yield();
        } else {
            std::this_thread::sleep_for(nap);
        }
    }

private:
    static constexpr std::chrono::milliseconds yielding{5};
    static constexpr std::chrono::microseconds nap{50};

    int spins_;
    int rounds_ = 0;
    std::chrono::steady_clock::time_point yield_until_;
};

}  // namespace pycoll
