// How a call runs that was prepared: in one go, if it is short and there is nothing else to do.
//
// Where ranks share cores, each of them finds the caches taken by others whenever it is given its
// core, and a short call takes as long as it takes to fetch again what it touches. So this touches
// little: what else there is to a call that is outstanding (who knows of it, its deadline, how
// errors name it) comes when it turns out to take long, or fails.

#include <sched.h>

#include <utility>

#include "engine/clock.hpp"
#include "engine/communicator.hpp"
#include "engine/patience.hpp"
#include "engine/progress.hpp"

namespace pycoll {

void Communicator::run(const std::shared_ptr<const PreparedCall>& call, const void* input,
                       void* output, Caller& caller) {
    Lock lock(mutex_, std::try_to_lock);
    const bool is_alone = lock.owns_lock() && is_brief(*call);
    if (is_alone && enters_at_once(*call)) {
        caller.has_begun = true;
        if (run_at_once(call, input, output)) {
            ++call->runs;
            return;
        }
        // Others have had the core for as long as it may hold on; where they need none, go on.
        if (options_.oversubscribed) caller.let_go();
        return see_through(*call, join_others(call), std::move(lock), caller);
    }
    // Whoever has the lock may need what the caller has; so may MPI, for what users have it call.
    if (!is_alone) caller.let_go();
    if (!lock.owns_lock()) lock.lock();
    require_usable();
    wait_until(lock, &Communicator::nobody_gets_introduced);
    wait_until(lock, &Communicator::next_tag_is_free);
    require_usable();
    caller.has_begun = true;
    auto execution = enter(call, input, output, nullptr, nullptr);
    see_through(*call, std::move(execution), std::move(lock), caller);
}

/// Is all that there is to do little, and has nothing to do with MPI?
bool Communicator::is_brief(const PreparedCall& call) const {
    // To move so much takes longer than to let go.
    constexpr std::uint64_t much = 64 << 10;
    return call.input_bytes + call.output_bytes < much && call.if_private->is_sequence() &&
           call.if_registered->is_sequence() && !shows_calls_ && active_.empty() &&
           !anything_is_watched();
}

/// May this rank enter a call without a look at how far the others are? Only of those that are
/// brief.
bool Communicator::enters_at_once(const PreparedCall& call) const {
    if (closed() || !broken_.empty() || gets_introduced_) return false;
    if (!neighbours_) return true;
    // Counts of each rank's own are compared when all have met.
    return call.meets_in_plan && call.counts.empty() &&
           neighbours_->node().owes_at_most(takes_turns(call) ? 0 : most_unseen);
}

bool Communicator::run_at_once(const std::shared_ptr<const PreparedCall>& call, const void* input,
                               void* output) {
    if (spare_.empty()) spare_.push_back(std::make_shared<Execution>());
    Execution& execution = *spare_.back();
    execution.renew();
    execution.set_operands({input, output, call->dtype, call->op});
    execution.adopt(call->if_private);
    ++sequence_;
    try {
        if (neighbours_) neighbours_->node().enter(numbered(call->post, sequence_));
        execution.begin(call->if_private, means_, entry_of(*call));
        if (!execution.done()) return ends_soon(execution);
        if (execution.runs_ahead()) ++calls_at_once_;
        return true;
    } catch (const std::exception& error) {
        join_others(call);
        break_off(&execution, failure_of(error));
        execution.check();
    }
    return true;
}

bool Communicator::ends_soon(Execution& execution) const {
    Clock::time_point since;
    for (int yields = 0; !spin(execution); ++yields) {
        // Who had to wait for long last time sleeps at once: see Patience.
        if (!options_.oversubscribed || long_waits_.load(std::memory_order_relaxed)) return false;
        // Most waits are over after one yield. Before, no look at the clock.
        if (yields == 1) since = Clock::now();
        if (yields > 1 && Clock::now() - since >= Patience::most_held) return false;
        sched_yield();
    }
    return true;
}

/// Looks for what it waits for while that may come at once. True if it is over.
bool Communicator::spin(Execution& execution) const {
    // Some 3 us: see Patience.
    constexpr int most_looks = 300;
    while (true) {
        while (execution.poll_signals()) {
        }
        if (execution.done()) return true;
        const bool may_come = !options_.oversubscribed ||
                              (!execution.runs_ahead() && execution.awaits_running_peer());
        if (!may_come) return false;
        int looks = 0;
        while (!execution.poll_signals()) {
            if (++looks == most_looks) return false;
        }
    }
}

std::shared_ptr<Execution> Communicator::join_others(
    const std::shared_ptr<const PreparedCall>& call) {
    std::shared_ptr<Execution> execution = std::move(spare_.back());
    spare_.pop_back();
    execution->prepare(label_of(*call, sequence_), deadline(), nullptr);
    try {
        active_.push_back(execution);
        if (neighbours_) {
            entries_.push_back({.execution = execution,
                                .call = call,
                                .post = numbered(call->post, sequence_),
                                .input = {},
                                .output = {},
                                .stage = Entry::Stage::running});
        }
    } catch (const std::exception& error) {
        // Peers have heard of it, and nobody here would look after it.
        break_off(execution.get(), failure_of(error));
        throw;
    }
    return execution;
}

}  // namespace pycoll
