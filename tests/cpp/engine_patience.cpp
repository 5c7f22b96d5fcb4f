// How a thread waits: when it sleeps, and what it remembers of that.

#include <atomic>
#include <chrono>
#include <thread>

#include "check.hpp"
#include "engine/patience.hpp"

namespace pycoll::test::engine_patience {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

/// Waits until it should sleep. Returns how long that took.
nanoseconds until_nap(Patience& patience, Awaited awaited) {
    const auto start = Clock::now();
    while (!patience.pause(awaited)) {
    }
    return Clock::now() - start;
}

/// The nap itself.
void nap(Patience& patience) {
    std::this_thread::sleep_for(milliseconds(1));
    patience.woke();
}

const Test yields("patience: ranks that share cores yield before they sleep, longer in long calls",
                  [] {
                      std::atomic<bool> long_waits = false;
                      Patience brief(true, 8, long_waits);
                      check(until_nap(brief, Awaited::signal) >= microseconds(25), "a short call");
                      Patience longer(true, 16 << 20, long_waits);
                      check(until_nap(longer, Awaited::signal) >= milliseconds(1), "a long call");
                  });

const Test anew("patience: the wait begins anew when something has moved", [] {
    std::atomic<bool> long_waits = false;
    Patience patience(true, 8, long_waits);
    until_nap(patience, Awaited::signal);
    patience.reset();
    check(until_nap(patience, Awaited::signal) >= microseconds(25), "it sleeps too soon");
});

const Test memory("patience: a wait that became long in a nap is remembered until the next call",
                  [] {
                      std::atomic<bool> long_waits = false;
                      {
                          Patience patience(true, 8, long_waits);
                          until_nap(patience, Awaited::signal);
                          nap(patience);
                      }
                      check(long_waits, "the call ended with the nap");
                      {
                          const Patience patience(true, 8, long_waits);
                      }
                      check(!long_waits, "a call without a wait");
                      {
                          Patience patience(true, 8, long_waits);
                          until_nap(patience, Awaited::signal);
                          nap(patience);
                          patience.reset();
                      }
                      check(long_waits, "the call went on after the nap");
                  });

const Test messages("patience: waits for messages are yielded through for longer", [] {
    std::atomic<bool> long_waits = false;
    Patience patience(true, 16 << 20, long_waits);
    check(until_nap(patience, Awaited::other) >= milliseconds(16), "it sleeps too soon");
});

const Test sooner("patience: after a long wait, the next call sleeps sooner", [] {
    std::atomic<bool> long_waits = true;
    // A second, otherwise.
    Patience patience(true, 1'000'000'000, long_waits);
    check(until_nap(patience, Awaited::other) < milliseconds(500), "it yields for long");
});

const Test naps("patience: naps grow with the wait, within limits", [] {
    check(Patience::nap_after(nanoseconds(0)) == microseconds(50), "the shortest");
    check(Patience::nap_after(milliseconds(4)) == microseconds(500), "an eighth");
    check(Patience::nap_after(std::chrono::seconds(1)) == milliseconds(1), "the longest");
});

}  // namespace
}  // namespace pycoll::test::engine_patience
