// How the operations of a communicator move along, and how threads wait for them.

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "engine/clock.hpp"
#include "engine/communicator.hpp"
#include "engine/progress.hpp"

namespace pycoll {
namespace {

std::string in_seconds(std::chrono::nanoseconds time) {
    std::ostringstream text;
    text << std::chrono::duration<double>(time).count() << " s";
    return text.str();
}

/// Counts a thread that waits.
class Attendance {
public:
    explicit Attendance(std::atomic<int>& attending) : attending_(attending) {
        attending_.fetch_add(1, std::memory_order_relaxed);
    }
    ~Attendance() { attending_.fetch_sub(1, std::memory_order_relaxed); }
    Attendance(const Attendance&) = delete;
    Attendance& operator=(const Attendance&) = delete;

private:
    std::atomic<int>& attending_;
};

}  // namespace

bool Work::test() { return communicator_->test(*execution_); }

void Work::wait(std::optional<std::chrono::nanoseconds> timeout) {
    communicator_->wait(*execution_, timeout);
}

void Work::order(cuda::Stream stream) { communicator_->order(*execution_, stream); }

std::vector<std::size_t> wait_some(std::span<const Work> works,
                                   std::optional<std::chrono::nanoseconds> timeout) {
    if (works.empty()) {
        throw std::invalid_argument("there is nothing to wait for; pass at least one work");
    }
    std::vector<Execution*> executions;
    executions.reserve(works.size());
    for (const Work& work : works) {
        if (work.communicator_ != works.front().communicator_) {
            throw std::invalid_argument(
                "the works are of several communicators; pass those of one");
        }
        executions.push_back(work.execution_.get());
    }
    return works.front().communicator_->wait_some(executions, timeout);
}

void Communicator::wait(Execution& execution, std::optional<std::chrono::nanoseconds> timeout) {
    const auto start = timeout ? Clock::now() : Clock::time_point();
    {
        Patience patience(options_.oversubscribed, execution.operand_bytes(), long_waits_);
        const Attendance attendance(attending_);
        while (!execution.done()) {
            attend(patience);
            if (!timeout || Clock::now() - start < *timeout) continue;
            const Lock lock(mutex_);
            if (execution.done()) break;
            throw TimeoutError(who() + execution.describe() + ": not done after " +
                               in_seconds(*timeout) + "; it waits for " + waits_for(execution));
        }
    }
    execution.check();
    execution.release();
}

void Communicator::see_through(const PreparedCall& call, std::shared_ptr<Execution> execution,
                               Lock&& given, Caller& caller) {
    Garbage garbage;  // outlives the lock
    Lock lock(std::move(given));
    if (!execution->done()) wait_pausing(*execution, lock, garbage, caller);
    execution->check();
    ++call.runs;
    // Nobody else refers to it any more, or is about to drop a reference without a look.
    spare_.push_back(std::move(execution));
}

void Communicator::wait_pausing(const Execution& execution, Lock& lock, Garbage& garbage,
                                Caller& caller) {
    Patience patience(options_.oversubscribed, execution.operand_bytes(), long_waits_, &caller);
    const Attendance attendance(attending_);
    while (true) {
        const bool moved = progress(garbage);
        if (execution.done()) return;
        lock.unlock();
        garbage.clear();
        if (moved) {
            patience.reset();
        } else {
            pause(patience);
        }
        // Whoever has the lock is moving things along already.
        while (!lock.try_lock()) {
            if (execution.done()) {
                caller.let_go();
                return lock.lock();
            }
            pause(patience);
        }
    }
}

std::vector<std::size_t> Communicator::wait_some(std::span<Execution* const> executions,
                                                 std::optional<std::chrono::nanoseconds> timeout) {
    std::vector<std::size_t> done;
    const auto look = [&] {
        for (std::size_t i = 0; i < executions.size(); ++i) {
            if (executions[i]->done()) done.push_back(i);
        }
        return !done.empty();
    };
    const auto start = timeout ? Clock::now() : Clock::time_point();
    {
        std::uint64_t bytes = 0;
        for (const Execution* execution : executions) {
            bytes = std::max<std::uint64_t>(bytes, execution->operand_bytes());
        }
        Patience patience(options_.oversubscribed, bytes, long_waits_);
        const Attendance attendance(attending_);
        while (!look()) {
            attend(patience);
            if (!timeout || Clock::now() - start < *timeout) continue;
            const Lock lock(mutex_);
            if (look()) break;
            const Execution& first = *executions.front();
            throw TimeoutError(who() + "none of " + std::to_string(executions.size()) +
                               " operations done after " + in_seconds(*timeout) + "; the first, " +
                               first.describe() + ", waits for " + waits_for(first));
        }
    }
    for (const std::size_t i : done) executions[i]->check();
    for (const std::size_t i : done) executions[i]->release();
    return done;
}

bool Communicator::test(Execution& execution) {
    if (!execution.done()) {
        if (!try_progress()) help_watched();
        if (!execution.done()) return false;
    }
    execution.check();
    execution.release();
    return true;
}

void Communicator::wait_until(Lock& lock, Condition over) {
    if ((this->*over)()) return;
    // What this waits for says nothing of the next call.
    std::atomic<bool> long_waits = long_waits_.load(std::memory_order_relaxed);
    Patience patience(options_.oversubscribed, 0, long_waits);
    const Attendance attendance(attending_);
    while (!(this->*over)()) {
        lock.unlock();
        attend(patience);
        lock.lock();
    }
}

void Communicator::attend(Patience& patience) {
    if (try_progress()) {
        patience.reset();
    } else {
        pause(patience);
    }
}

void Communicator::pause(Patience& patience) {
    help_watched();
    const auto nap = patience.pause(awaited_.load(std::memory_order_relaxed));
    if (!nap) return;
    sleep(*nap);
    patience.woke();
}

void Communicator::sleep(std::chrono::nanoseconds longest) {
    std::shared_ptr<Neighbours> woken_by;
    if (const Lock lock(mutex_, std::try_to_lock); lock.owns_lock() && !entries_.empty()) {
        // A peer may be late as it waits, in a call to MPI of its own, for MPI to move along here.
        std::optional<cuda::Gpu::Current> current;
        if (gpu_ != nullptr && gpu_->takes_gpu_memory()) current.emplace(gpu_->gpu());
        transport_->progress();
        if (prepare_sleep()) woken_by = neighbours_;
    }
    if (woken_by) {
        woken_by->node().sleep(longest);
    } else {
        std::this_thread::sleep_for(longest);
    }
}

bool Communicator::try_progress() {
    Garbage garbage;  // outlives the lock
    const Lock lock(mutex_, std::try_to_lock);
    // Whoever has the lock is moving things along already.
    return lock.owns_lock() && progress(garbage);
}

Communicator::Help Communicator::help() {
    if (attending_.load(std::memory_order_relaxed) > 0) return Help::waiting;
    Garbage garbage;  // outlives the lock
    const Lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return Help::waiting;
    const bool moved = progress(garbage);
    if (active_.empty()) return Help::idle;
    return moved ? Help::moved : Help::waiting;
}

bool Communicator::progress(Garbage& garbage) {
    if (active_.empty()) return false;
    completions_.clear();
    const Execution* culprit = nullptr;
    std::optional<Failure> failure;
    bool moved = false;
    bool enters = false;
    try {
        // A CUDA-aware MPI may be at work on GPUs here.
        std::optional<cuda::Gpu::Current> current;
        if (gpu_ != nullptr && gpu_->takes_gpu_memory()) current.emplace(gpu_->gpu());
        transport_->poll(completions_);
        for (auto& [token, error] : completions_) {
            auto* const execution = static_cast<Execution*>(token.owner);
            culprit = execution;
            if (!error.empty()) {
                failure = {.why = std::move(error)};
                break;
            }
            execution->message_done(token.step);
        }
        if (!failure && !messages_.empty()) {
            moved |= start_messages(culprit);
        }
        if (!failure && gpu_ != nullptr) moved |= poll_gpu(culprit);
        if (!failure && !entries_.empty()) {
            enters = true;
            moved |= advance_entries();
            awaited_.store(entries_.empty() ? Awaited::other : awaited(entries_.front()),
                           std::memory_order_relaxed);
        }
    } catch (const std::exception& error) {
        failure = failure_of(error);
        // The first ones may be through.
        if (enters) culprit = entries_.front().execution.get();
    }
    moved |= !completions_.empty();
    if (moved || failure) retire(garbage);
    if (!failure && !active_.empty() && coarse_now() >= active_.front()->deadline()) {
        culprit = active_.front().get();
        failure = {.kind = Failure::Kind::timed_out,
                   .why = "gave up after " + in_seconds(options_.timeout) + ", waiting for " +
                          waits_for(*culprit)};
    }
    if (!failure) return moved;
    break_off(culprit, *failure);
    return true;
}

Awaited Communicator::awaited(const Entry& entry) const {
    if (entry.stage == Entry::Stage::holding) return Awaited::signal;
    if (!entry.execution->awaits_signal()) return Awaited::other;
    const bool is_near = options_.oversubscribed && !entry.execution->runs_ahead() &&
                         entry.execution->awaits_running_peer();
    return is_near ? Awaited::signal_of_running_peer : Awaited::signal;
}

void Communicator::retire(Garbage& garbage) {
    const auto more = std::ranges::count_if(active_, [](const auto& execution) {
        return execution->done() && execution->keeps_arrays();
    });
    garbage.reserve(garbage.size() + static_cast<std::size_t>(more));
    std::erase_if(active_, [&](std::shared_ptr<Execution>& execution) {
        if (!execution->done()) return false;
        if (execution->keeps_arrays()) garbage.push_back(std::move(execution));
        return true;
    });
}

void Communicator::break_off(const Execution* culprit, const Failure& failure) {
    entries_.clear();
    messages_.clear();
    broken_ = culprit == nullptr ? failure.why : culprit->describe() + ": " + failure.why;
    for (const auto& execution : active_) execution->let_go();
    for (const auto& execution : active_) {
        if (execution->done()) continue;
        execution->fail({failure.kind,
                         who() + (execution.get() == culprit
                                      ? broken_
                                      : execution->describe() +
                                            ": given up, as the communicator failed: " + broken_)});
    }
    // Nothing was given up before: a broken communicator starts nothing.
    abandoned_.swap(active_);
}

}  // namespace pycoll
