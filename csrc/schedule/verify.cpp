#include "schedule/verify.hpp"

#include <algorithm>

#include "schedule/causality.hpp"
#include "schedule/frontier.hpp"
#include "schedule/hazards.hpp"
#include "schedule/machine.hpp"
#include "schedule/messages.hpp"
#include "schedule/one_sided.hpp"
#include "schedule/placement.hpp"

// Why one execution stands for all
// --------------------------------
// verify() runs the events (local steps, and messages with both their ends) once, in one order.
// That this proves something about every order rests on four facts, each checked here:
//
//  1. Which message meets which, and which signal ends which wait, does not depend on timing: both
//     ends post the messages of a channel in the order of their steps, whatever else they do, and
//     transports deliver in that order (Messages). Signals are counted.
//  2. Any two steps that touch the same element, one of them writing, are ordered. For steps of one
//     rank its own dependencies do that, in which a send or receive ends when it is complete
//     (find_hazard); a message reads its sender's slice while the send is under way, and writes its
//     receiver's slice while the receive is. For steps of different ranks, where these see each
//     other's memory, dependencies, signals and waits do (OneSided); expectations do not. So for
//     every read it is fixed which write came last before it, and a slice that is being sent does
//     not change meanwhile, whether the transport copies it at once, at the match, or in between.
//  3. By 1 and 2, the values that an event reads are those that certain other events have produced,
//     the same in every execution. Dependencies, messages of one channel in order, and signals only
//     point forward in the one order that was found; by induction along it, every event computes
//     the same value in every execution.
//  4. Every execution ends. In the run here, an event waits for the dependencies of both its ends
//     and for the message before it on its channel to be complete. Nothing that an engine or a
//     transport may add waits for more: posting in channel order, a bounded number of messages
//     under way per channel, a send that waits for its receiver. As all events could be put into
//     an order (Frontier), those waits form no cycle.
//
// An executor may wait for what is expected: all of a rank's signals are given before it takes any
// (check_ahead), so that they come whatever else is waited for.
//
// Hence the values found, and that all events took place, hold for every timing.

namespace pycoll {
namespace {

using Failure = std::optional<std::string>;

std::string rank_name(std::size_t rank) { return "rank " + std::to_string(rank) + ": "; }

/// Does everybody expect to receive what is sent to it?
Failure check_counts(std::span<const Request> requests) {
    std::vector<Blocks> sent;
    for (const Request& request : requests) sent.push_back(request.blocks());
    for (std::size_t to = 0; to < requests.size(); ++to) {
        const Blocks received = requests[to].recv_blocks();
        for (std::size_t from = 0; from < requests.size(); ++from) {
            const std::uint64_t sends = sent[from].count(static_cast<int>(to));
            const std::uint64_t receives = received.count(static_cast<int>(from));
            if (sends != receives) {
                return rank_name(to) + "expects " + std::to_string(receives) +
                       " elements from rank " + std::to_string(from) + ", which sends " +
                       std::to_string(sends);
            }
        }
    }
    return std::nullopt;
}

/// Are these the schedules of one and the same call?
Failure check_call(std::span<const Request> requests, std::span<const Schedule> schedules) {
    if (requests.size() != schedules.size() || schedules.empty()) {
        return "there must be one schedule for each of at least one rank";
    }
    for (std::size_t r = 0; r < requests.size(); ++r) {
        const Request& request = requests[r];
        const Schedule& schedule = schedules[r];
        check(request);
        const bool is_own = request.rank == static_cast<int>(r) &&
                            request.size == static_cast<int>(requests.size());
        if (!is_own || schedule.rank != request.rank || schedule.size != request.size ||
            schedule.collective != request.collective ||
            schedule.meets_first != schedules[0].meets_first ||
            schedule.runs_ahead != schedules[0].runs_ahead ||
            schedule.stages_alike != schedules[0].stages_alike) {
            return rank_name(r) + "the schedule is for another call";
        }
        const Request& first = requests[0];
        const bool own_counts = request.collective == Collective::all_to_all;
        if (request.collective != first.collective || request.root != first.root ||
            request.nodes != first.nodes || request.count != first.count ||
            (!own_counts && request.counts != first.counts)) {
            return rank_name(r) + "asks for another call than rank 0";
        }
    }
    return requests[0].collective == Collective::all_to_all ? check_counts(requests) : std::nullopt;
}

/// Does the schedule use as much of its stage as the others, where executors rely on that?
Failure check_stage(const Schedule& schedule, const Schedule& first) {
    if (schedule.stage_count == first.stage_count) return std::nullopt;
    const std::string failure = "uses another length of its stage than rank 0, but ";
    if (schedule.stages_alike) return failure + "says that all stages are alike";
    if (schedule.runs_ahead) return failure + "may run ahead";
    return std::nullopt;
}

/// Does the schedule keep to what executors rely on where ranks may be several calls ahead?
Failure check_ahead(const Schedule& schedule) {
    std::vector<int> given(static_cast<std::size_t>(schedule.size));
    bool has_taken = false;
    for (const Step& step : schedule.steps) {
        if (!schedule.runs_ahead) {
            if (step.kind == StepKind::expect) return "expects signals, but may not run ahead";
            continue;
        }
        if (is_message(step.kind)) return "sends messages, but may run ahead";
        has_taken = has_taken || takes_signal(step.kind);
        if (step.kind != StepKind::signal) continue;
        if (has_taken) return "gives a signal after it has taken one, but may run ahead";
        ++given[static_cast<std::size_t>(step.peer)];
    }
    if (!schedule.runs_ahead) return std::nullopt;
    if (schedule.meets_first) return "meets first, but may run ahead";
    // None to itself.
    given[static_cast<std::size_t>(schedule.rank)] = 1;
    if (std::ranges::all_of(given, [](int signals) { return signals == 1; })) return std::nullopt;
    return "does not give one signal to every other rank, but may run ahead";
}

bool is_one_sided_call(std::span<const Schedule> schedules) {
    return std::ranges::any_of(schedules, [](const Schedule& schedule) {
        return std::ranges::any_of(schedule.steps,
                                   [](const Step& step) { return is_one_sided(step); });
    });
}

/// What follows the run of the events, besides the values.
class Followers {
public:
    Followers(std::span<const Schedule> schedules, std::span<const Placement> places,
              const std::vector<int>& nodes)
        : one_sided_(is_one_sided_call(schedules)),
          // Stages of later calls rely on it that nobody leaves before all have entered, but those
          // whom it expects.
          all_meet_((one_sided_ && !schedules[0].meets_first) ||
                    schedules[0].collective == Collective::barrier),
          accesses_(one_sided_ ? schedules : schedules.first(0), places),
          causality_(all_meet_ ? schedules : schedules.first(0), nodes) {}

    void run(StepId event, const Messages& messages) {
        if (one_sided_) accesses_.run(event, messages);
        if (all_meet_) causality_.run(event, messages);
    }

    [[nodiscard]] Failure find_failure() const {
        if (auto hazard = accesses_.find_hazard()) return hazard;
        return causality_.check_all_met();
    }

private:
    bool one_sided_;
    bool all_meet_;
    OneSided accesses_;
    Causality causality_;
};

}  // namespace

Failure verify(std::span<const Request> requests, std::span<const Schedule> schedules) {
    if (auto failure = check_call(requests, schedules)) return failure;
    std::vector<Placement> places;
    for (std::size_t r = 0; r < requests.size(); ++r) {
        places.emplace_back(requests[r], schedules[r].scratch_count, schedules[r].stage_count);
    }
    for (std::size_t r = 0; r < requests.size(); ++r) {
        if (auto failure = find_malformed_step(schedules[r], places)) {
            return rank_name(r) + *failure;
        }
        if (auto hazard = find_hazard(schedules[r], places)) return rank_name(r) + *hazard;
        if (auto failure = check_stage(schedules[r], schedules[0])) return rank_name(r) + *failure;
        if (auto failure = check_ahead(schedules[r])) return rank_name(r) + *failure;
    }
    const Messages messages(schedules);
    if (messages.mismatch()) return messages.mismatch();

    Followers followers(schedules, places, requests[0].nodes);
    Frontier frontier(schedules, messages);
    std::vector<StepId> order;
    std::vector<StepId> ready = frontier.start();
    while (!ready.empty()) {
        const StepId event = ready.back();
        ready.pop_back();
        order.push_back(event);
        followers.run(event, messages);
        frontier.complete(event, ready);
    }
    if (frontier.remaining() > 0) {
        const StepId id = frontier.blocked();
        const Step& step = schedules[static_cast<std::size_t>(id.rank)].steps[id.step];
        return name_of(id, step) + ": deadlock, it waits for a step that waits for it";
    }
    // Before the values: those of a race mean nothing.
    if (auto failure = followers.find_failure()) return failure;
    Machine machine(requests, schedules, places);
    for (const StepId event : order) {
        if (auto failure = machine.run(event, messages)) return failure;
    }
    return schedules[0].collective == Collective::barrier ? std::nullopt : machine.check_output();
}

}  // namespace pycoll
