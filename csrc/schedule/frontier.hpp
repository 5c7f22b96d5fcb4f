#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schedule/messages.hpp"
#include "schedule/schedule.hpp"

namespace pycoll {

/// Runs all ranks' schedules event by event, in an order the caller picks among those that are
/// ready. A message is one event, named by its send: it is ready when both ends are and the
/// message before it on its channel is done. A wait is ready once its signal has been given, too.
/// That is the strictest transport (every send waits for its receiver, one message per channel):
/// what completes here completes everywhere.
class Frontier {
public:
    /// `messages` must have no mismatch; both arguments must outlive this.
    Frontier(std::span<const Schedule> schedules, const Messages& messages);

    /// Events ready at the start.
    [[nodiscard]] std::vector<StepId> start() const;
    /// Marks an event done and appends the events that it made ready.
    void complete(StepId event, std::vector<StepId>& ready);
    /// Events not done yet.
    [[nodiscard]] std::size_t remaining() const { return remaining_; }
    /// Some step that cannot run although everything else has run.
    [[nodiscard]] StepId blocked() const;

private:
    /// The steps of one rank.
    struct Rank {
        /// What the event named by each step still waits for.
        std::vector<std::uint32_t> pending;
        std::vector<bool> done;
        /// The steps that wait for step i: successors[first_successor[i], first_successor[i + 1]).
        std::vector<std::uint32_t> first_successor;
        std::vector<std::uint32_t> successors;
    };

    static Rank follow(const Schedule& schedule);
    /// The event a step belongs to: a receive is part of its send.
    [[nodiscard]] StepId event_of(StepId step) const;
    [[nodiscard]] const Step& step_of(StepId id) const {
        return schedules_[static_cast<std::size_t>(id.rank)].steps[id.step];
    }
    [[nodiscard]] Rank& at(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }
    void release(StepId event, std::vector<StepId>& ready);
    void release_successors(StepId step, std::vector<StepId>& ready);

    std::span<const Schedule> schedules_;
    const Messages& messages_;
    std::vector<Rank> ranks_;
    std::size_t remaining_ = 0;
};

}  // namespace pycoll
