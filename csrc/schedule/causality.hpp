#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "schedule/messages.hpp"
#include "schedule/schedule.hpp"

namespace pycoll {

/// Which ranks' entries into the call precede each step, through dependencies, messages and
/// signals: what a barrier is for, and what the stages of later calls rely on.
class Causality {
public:
    /// `nodes` as in Request: the ranks of a node may meet first.
    Causality(std::span<const Schedule> schedules, const std::vector<int>& nodes);

    /// Follows one event, a local step or a message named by its send, after all before it.
    void run(StepId event, const Messages& messages);

    /// Says who may leave the call before whom has entered, if so. In all but a barrier, those
    /// count as met whose signals a rank expects.
    [[nodiscard]] std::optional<std::string> check_all_met() const;

private:
    using Ranks = std::vector<bool>;

    Ranks& known(StepId id) { return known_[static_cast<std::size_t>(id.rank)][id.step]; }
    void learn(StepId id);
    /// The ranks that have entered when a rank runs its first step.
    [[nodiscard]] Ranks met_first(std::size_t rank) const;

    std::span<const Schedule> schedules_;
    std::vector<int> nodes_;
    std::vector<std::vector<Ranks>> known_;
};

}  // namespace pycoll
