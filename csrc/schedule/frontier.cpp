#include "schedule/frontier.hpp"

#include <numeric>

namespace pycoll {

Frontier::Frontier(std::span<const Schedule> schedules, const Messages& messages)
    : schedules_(schedules), messages_(messages) {
    for (const Schedule& schedule : schedules_) ranks_.push_back(follow(schedule));
    for (int rank = 0; rank < static_cast<int>(schedules_.size()); ++rank) {
        const auto& steps = schedules_[static_cast<std::size_t>(rank)].steps;
        for (std::uint32_t i = 0; i < steps.size(); ++i) {
            const StepId event = event_of({rank, i});
            at(event.rank).pending[event.step] += static_cast<std::uint32_t>(steps[i].after.size());
            if (!receives(steps[i].kind)) ++remaining_;
            if (steps[i].kind == StepKind::send) {
                const StepId next = messages_.next_send(event);
                if (next.rank >= 0) ++at(next.rank).pending[next.step];
            }
            if (steps[i].kind == StepKind::wait) ++at(rank).pending[i];
        }
    }
}

Frontier::Rank Frontier::follow(const Schedule& schedule) {
    const std::size_t count = schedule.steps.size();
    Rank rank{std::vector<std::uint32_t>(count),
              std::vector<bool>(count),
              std::vector<std::uint32_t>(count + 1),
              {}};
    for (const Step& step : schedule.steps) {
        for (const std::uint32_t before : step.after) ++rank.first_successor[before + 1];
    }
    std::partial_sum(rank.first_successor.begin(), rank.first_successor.end(),
                     rank.first_successor.begin());
    rank.successors.resize(rank.first_successor.back());
    std::vector<std::uint32_t> next(rank.first_successor);
    for (std::uint32_t i = 0; i < count; ++i) {
        for (const std::uint32_t before : schedule.steps[i].after) {
            rank.successors[next[before]++] = i;
        }
    }
    return rank;
}

StepId Frontier::event_of(StepId id) const {
    return receives(step_of(id).kind) ? messages_.partner(id) : id;
}

std::vector<StepId> Frontier::start() const {
    std::vector<StepId> ready;
    for (int rank = 0; rank < static_cast<int>(schedules_.size()); ++rank) {
        const auto r = static_cast<std::size_t>(rank);
        for (std::uint32_t i = 0; i < schedules_[r].steps.size(); ++i) {
            if (!receives(schedules_[r].steps[i].kind) && ranks_[r].pending[i] == 0) {
                ready.push_back({rank, i});
            }
        }
    }
    return ready;
}

void Frontier::release(StepId event, std::vector<StepId>& ready) {
    if (--at(event.rank).pending[event.step] == 0) ready.push_back(event);
}

void Frontier::release_successors(StepId step, std::vector<StepId>& ready) {
    Rank& rank = at(step.rank);
    rank.done[step.step] = true;
    for (std::uint32_t i = rank.first_successor[step.step]; i < rank.first_successor[step.step + 1];
         ++i) {
        release(event_of({step.rank, rank.successors[i]}), ready);
    }
}

void Frontier::complete(StepId event, std::vector<StepId>& ready) {
    --remaining_;
    release_successors(event, ready);
    const StepKind kind = step_of(event).kind;
    const StepId receiver = messages_.partner(event);
    if (kind == StepKind::signal && step_of(receiver).kind == StepKind::wait) {
        release(receiver, ready);
    }
    if (kind != StepKind::send) return;
    release_successors(receiver, ready);
    const StepId next = messages_.next_send(event);
    if (next.rank >= 0) release(next, ready);
}

StepId Frontier::blocked() const {
    for (int rank = 0; rank < static_cast<int>(schedules_.size()); ++rank) {
        const auto r = static_cast<std::size_t>(rank);
        for (std::uint32_t i = 0; i < schedules_[r].steps.size(); ++i) {
            if (!ranks_[r].done[i]) return {rank, i};
        }
    }
    return {};
}

}  // namespace pycoll
