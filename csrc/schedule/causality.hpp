#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "schedule/messages.hpp"
#include "schedule/schedule.hpp"

namespace pycoll {

/// Which ranks' entries into the call precede each step, through dependencies and messages: what a
/// barrier is for.
class Causality {
public:
    explicit Causality(std::span<const Schedule> schedules);

    /// Follows one event, a local step or a message named by its send, after all before it.
    void run(StepId event, const Messages& messages);

    /// Says who may leave before whom has entered, if so.
    [[nodiscard]] std::optional<std::string> check_all_met() const;

private:
    using Ranks = std::vector<bool>;

    Ranks& known(StepId id) { return known_[static_cast<std::size_t>(id.rank)][id.step]; }
    void learn(StepId id);

    std::span<const Schedule> schedules_;
    std::vector<std::vector<Ranks>> known_;
};

}  // namespace pycoll
