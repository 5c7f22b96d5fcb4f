#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "engine/caller.hpp"
#include "engine/clock.hpp"

namespace pycoll {

/// What a thread waits for.
enum class Awaited : std::uint8_t {
    other,
    signal,                  ///< by whose sender it is woken when it sleeps
    signal_of_running_peer,  ///< that seems to be at work on another core; only said where ranks
                             ///< outnumber cores
};

/// How to wait for a peer during one call: spin while it may answer at once, then let other ranks
/// have the core, then sleep.
///
/// Ranks that outnumber the cores do not spin, since the peer they wait for needs the core, but for
/// a moment where it seems to have one. They yield while waits are short, as when calls follow each
/// other; where the last call that waited did so for long, as for a peer that computes, they hardly
/// do. For a yield may give little: where a launcher puts every rank into a session of its own, as
/// MPICH's does, Linux counts it as a group of its own, and those who yield still take an equal
/// share from the one who works. And sleeping costs much: who is woken comes late, and makes others
/// wait until they sleep. Measured with MPICH, 8 ranks on 2 cores of an Intel Xeon, us per
/// all-reduce of arrays that go through the stages: one call after the other, and where one rank
/// computes before each:
///
///                                    one after the other          100 us    800 us before
///                                 32 KiB  256 KiB   2 MiB         64 KiB   64 KiB   1 MiB
///     sleeping after 8 vain yields   274      730    2280            342     1120    1650
///     after 25 us of them, and more   77      318    1980            448     1330    2190
///     that, unless the last was long  89      348    2180            409     1090    1880
class Patience {
public:
    /// `bytes` is the length of the call. `long_waits` is remembered from call to call. `caller`,
    /// if any, lets go of things unless the wait is short.
    Patience(bool oversubscribed, std::uint64_t bytes, std::atomic<bool>& long_waits,
             Caller* caller = nullptr)
        : caller_(caller),
          spins_(oversubscribed ? looks_before_yielding : most_spins),
          oversubscribed_(oversubscribed),
          long_wait_(shortest_long_wait + std::chrono::nanoseconds(bytes)),
          long_wait_for_signal_(shortest_long_wait_for_signal +
                                std::chrono::nanoseconds(bytes / 2)),
          yielding_(long_wait_),
          yielding_in_vain_(shortest_in_vain + std::chrono::nanoseconds(bytes / 16)),
          long_waits_(long_waits) {
        if (!oversubscribed) {
            yielding_ = std::chrono::milliseconds(5);
        } else if (long_waits_.load(std::memory_order_relaxed)) {
            yielding_ = yielding_again;
            yielding_in_vain_ = yielding_in_vain_again;
        }
    }
    ~Patience() { long_waits_.store(was_long_, std::memory_order_relaxed); }
    Patience(const Patience&) = delete;
    Patience& operator=(const Patience&) = delete;

    /// Something moved: the next thing may come soon.
    void reset() {
        pauses_ = 0;
        is_timed_ = false;
        seen_ = since_;
        in_vain_ = {};
        near_looks_ = 0;
    }

    /// Between two looks: spins, or yields, or says how long to sleep.
    [[nodiscard]] std::optional<std::chrono::nanoseconds> pause(Awaited awaited) {
        const bool wakes_in_time = oversubscribed_ && awaited != Awaited::other;
        const bool is_near = awaited == Awaited::signal_of_running_peer;
        if (is_near && near_looks_++ < most_near_looks) return std::nullopt;
        // The yield that follows is timed, not the looks before it.
        if (near_looks_ > 0 && is_timed_) seen_ = Clock::now();
        near_looks_ = 0;
        // One look tells whether a signal has come.
        if (!wakes_in_time && pauses_++ < spins_) return std::nullopt;
        const auto waited = seen_ - since_;
        long_from_ = wakes_in_time ? long_wait_for_signal_ : long_wait_;
        was_long_ |= waited >= long_from_;
        if (waited >= (wakes_in_time ? long_wait_ : yielding_) ||
            (wakes_in_time && in_vain_ >= yielding_in_vain_)) {
            let_go();
            seen_ = Clock::now();
            return nap_after(seen_ - since_);
        }
        if (waited >= most_held) let_go();
        sched_yield();
        // A look at the clock takes as long as ten at a signal: one for each yield, and the wait
        // is taken to begin after the first.
        const auto now = Clock::now();
        if (!is_timed_) {
            since_ = now;
        } else if (now - seen_ < shortest_turn) {
            in_vain_ += now - seen_;
        }
        is_timed_ = true;
        seen_ = now;
        return std::nullopt;
    }

    /// Right after the sleep.
    void woke() {
        seen_ = Clock::now();
        was_long_ |= seen_ - since_ >= long_from_;
    }

    /// How long to sleep after having waited for so long: an eighth longer in vain at most, but for
    /// short waits. Waking up costs some 15 us of a core on a virtual machine.
    static std::chrono::nanoseconds nap_after(std::chrono::nanoseconds waited) {
        return std::clamp<std::chrono::nanoseconds>(waited / 8, std::chrono::microseconds(50),
                                                    std::chrono::milliseconds(1));
    }

    /// How long a caller holds on after the first yield, and for the turn of others that is under
    /// way then. A short all-reduce of many ranks takes half of it.
    static constexpr std::chrono::nanoseconds most_held = std::chrono::microseconds(50);

private:
    void let_go() {
        if (caller_ != nullptr) caller_->let_go();
        caller_ = nullptr;
    }

    /// Some 10 us, longer than a short message takes. Not more: the scheduler may have put the peer
    /// on the same core, in spite of others that are free.
    static constexpr int most_spins = 100;
    /// Open MPI reports what has arrived at the second look only: without another one, each message
    /// costs a turn of all ranks more. Of 64 KiB, 8 ranks on 2 cores: 1.34 times the MPI's own
    /// all-reduce with one look, 1.11 times with three.
    static constexpr int looks_before_yielding = 2;
    /// No wait of a short all-reduce between ranks that all wait is longer, also if a few of them
    /// nap. Long ones take up to 1 ns per byte more: with 400 us for all, 8 ranks on 2 cores took
    /// each other's work at 4 MiB for long waits, and slept through every later call (2.4 times the
    /// MPI's own all-reduce; 0.97 times with 4.6 ms).
    static constexpr std::chrono::nanoseconds shortest_long_wait = std::chrono::microseconds(400);
    /// Ranks that share memory are faster. With this and half a nanosecond per byte,
    /// all-reduces in a row (above) stay awake.
    static constexpr std::chrono::nanoseconds shortest_long_wait_for_signal =
        std::chrono::microseconds(200);

    /// A yield that is over sooner has let nobody else run: the others sleep, or the scheduler
    /// gives this rank's group its share whatever it does (see above), until it has had that. Then
    /// sleeping is the only way to let a peer run that shares the core.
    static constexpr std::chrono::nanoseconds shortest_turn = std::chrono::nanoseconds(800);
    /// Some 100 yields; a sixteenth of a nanosecond per byte more. The share that a group is given
    /// first grows with the work of others, which grows with the bytes.
    static constexpr std::chrono::nanoseconds shortest_in_vain = std::chrono::microseconds(25);

    /// Both after a long wait: that of a message, and some 8 yields in vain.
    static constexpr std::chrono::nanoseconds yielding_again = std::chrono::microseconds(10);
    static constexpr std::chrono::nanoseconds yielding_in_vain_again = std::chrono::microseconds(2);

    /// Some 3 us: what it takes a peer to be given its core and to signal. Who yields at once makes
    /// its core change processes for each rank in each call; the last one of a core that waits for
    /// the last one of the other need not. All-reduce of 8 B on 4 ranks of 2 cores: 3.6 us a call
    /// without, 3.2 with 60 looks, 2.95 with 120, 3.8 with 400.
    static constexpr int most_near_looks = 100;

    Caller* caller_;
    int spins_;
    bool oversubscribed_;
    int near_looks_ = 0;
    std::chrono::nanoseconds long_wait_;
    std::chrono::nanoseconds long_wait_for_signal_;
    /// From when on what this thread waits for now is a long wait.
    std::chrono::nanoseconds long_from_{};
    std::chrono::nanoseconds yielding_;
    std::chrono::nanoseconds yielding_in_vain_;
    std::atomic<bool>& long_waits_;
    bool was_long_ = false;
    int pauses_ = 0;
    bool is_timed_ = false;
    Clock::time_point since_;
    Clock::time_point seen_;
    Clock::duration in_vain_{};
};

}  // namespace pycoll
