#include "schedule/verify.hpp"

#include "schedule/causality.hpp"
#include "schedule/frontier.hpp"
#include "schedule/hazards.hpp"
#include "schedule/machine.hpp"
#include "schedule/messages.hpp"
#include "schedule/placement.hpp"

// Why one execution stands for all
// --------------------------------
// verify() runs the events (local steps, and messages with both their ends) once, in one order.
// That this proves something about every order rests on four facts, each checked here:
//
//  1. Which message meets which does not depend on timing: both ends post the messages of a channel
//     in the order of their steps, whatever else they do, and transports deliver in that order
//     (Messages).
//  2. A rank's memory is touched by its own steps only; a message reads its sender's slice while
//     the send is under way, and writes its receiver's slice while the receive is. Any two steps of
//     a rank that touch the same element, one of them writing, are ordered by the rank's own
//     dependencies, in which a send or receive ends when it is complete (find_hazard). So for
//     every read it is fixed which write came last before it, and a slice that is being sent does
//     not change meanwhile, whether the transport copies it at once, at the match, or in between.
//  3. By 1 and 2, the values that an event reads are those that certain other events have produced,
//     the same in every execution. Dependencies, and messages of one channel in order, only point
//     forward in the one order that was found; by induction along it, every event computes the same
//     value in every execution. Ranks share nothing but messages, so no order between events of
//     different ranks is needed beyond that.
//  4. Every execution ends. In the run here, an event waits for the dependencies of both its ends
//     and for the message before it on its channel to be complete. Nothing that an engine or a
//     transport may add waits for more: posting in channel order, a bounded number of messages
//     under way per channel, a send that waits for its receiver. As all events could be put into
//     an order (Frontier), those waits form no cycle.
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
            schedule.collective != request.collective) {
            return rank_name(r) + "the schedule is for another call";
        }
        const Request& first = requests[0];
        const bool own_counts = request.collective == Collective::all_to_all;
        if (request.collective != first.collective || request.root != first.root ||
            request.count != first.count || (!own_counts && request.counts != first.counts)) {
            return rank_name(r) + "asks for another call than rank 0";
        }
    }
    return requests[0].collective == Collective::all_to_all ? check_counts(requests) : std::nullopt;
}

}  // namespace

Failure verify(std::span<const Request> requests, std::span<const Schedule> schedules) {
    if (auto failure = check_call(requests, schedules)) return failure;
    std::vector<Placement> places;
    for (std::size_t r = 0; r < requests.size(); ++r) {
        places.emplace_back(requests[r], schedules[r].scratch_count);
        if (auto failure = find_malformed_step(schedules[r], places[r])) {
            return rank_name(r) + *failure;
        }
        if (auto hazard = find_hazard(schedules[r])) return rank_name(r) + *hazard;
    }
    const Messages messages(schedules);
    if (messages.mismatch()) return messages.mismatch();

    const bool is_barrier = schedules[0].collective == Collective::barrier;
    Machine machine(requests, schedules, places);
    Causality causality(is_barrier ? schedules : schedules.first(0));
    Frontier frontier(schedules, messages);
    std::vector<StepId> ready = frontier.start();
    while (!ready.empty()) {
        const StepId event = ready.back();
        ready.pop_back();
        if (auto failure = machine.run(event, messages)) return failure;
        if (is_barrier) causality.run(event, messages);
        frontier.complete(event, ready);
    }
    if (frontier.remaining() > 0) {
        const StepId id = frontier.blocked();
        const Step& step = schedules[static_cast<std::size_t>(id.rank)].steps[id.step];
        return name_of(id, step) + ": deadlock, it waits for a step that waits for it";
    }
    if (is_barrier) return causality.check_all_met();
    return machine.check_output();
}

}  // namespace pycoll
