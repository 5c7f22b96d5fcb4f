#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <vector>

#include "accesses.hpp"
#include "clock.hpp"
#include "results.hpp"

namespace fake_cuda {

struct ContextState;
struct Machine;

/// The end of an operation: what events and other streams wait for.
struct Completion {
    bool done = false;
    /// What has come before its end.
    Clock clock;
    std::condition_variable changed;
};
using Ending = std::shared_ptr<Completion>;

/// A word that a stream waits for, and when it goes on.
struct WordWait {
    const volatile std::uint32_t* word;
    std::function<bool(std::uint32_t)> reached;
};

/// What is put on a stream.
struct Operation {
    What what;
    std::vector<Access> accesses = {};
    /// Does it, without the machine's lock. Anything but success is an error that sticks.
    std::function<Result()> run = {};
    std::optional<WordWait> word = {};
    /// On other streams, what comes before it.
    std::vector<Ending> after = {};
    /// What the host knew when it was put there.
    std::shared_ptr<const Clock> host = {};
    Ending ending = {};
};

/// A thread that does one operation after the other, each of them late by chance. All members are
/// guarded by the machine's mutex, which those that wait release meanwhile.
class Stream : public std::enable_shared_from_this<Stream> {
public:
    /// Blocking ones wait for the legacy default stream, and it for them.
    Stream(Machine& machine, ContextState& context, bool blocking, int priority);
    /// Starts the thread. It ends after close() and all operations.
    void start();
    void close();

    void put(Operation operation);

    [[nodiscard]] bool is_idle() const { return queue_.empty(); }
    [[nodiscard]] const std::deque<Operation>& queue() const { return queue_; }
    /// Of the last operation so far; null if there was none.
    [[nodiscard]] const Ending& last() const { return last_; }

    ContextState& context;
    const bool blocking;
    const int priority;
    bool capturing = false;

private:
    void work();
    void perform(std::unique_lock<std::mutex>& lock, Operation& operation);
    void delay();

    Machine& machine_;
    const Timeline timeline_;
    std::mt19937_64 random_;
    std::deque<Operation> queue_;
    Ending last_;
    /// As its last operation knows it.
    Clock clock_;
    bool closed_ = false;
    std::condition_variable changed_;
};

}  // namespace fake_cuda
