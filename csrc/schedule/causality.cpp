#include "schedule/causality.hpp"

#include <algorithm>

namespace pycoll {
namespace {

void merge(std::vector<bool>& into, const std::vector<bool>& from) {
    for (std::size_t r = 0; r < from.size(); ++r) {
        if (from[r]) into[r] = true;
    }
}

}  // namespace

Causality::Causality(std::span<const Schedule> schedules) : schedules_(schedules) {
    for (const Schedule& schedule : schedules) {
        known_.emplace_back(schedule.steps.size(), Ranks(schedules.size()));
    }
}

void Causality::run(StepId event, const Messages& messages) {
    learn(event);
    const StepId receiver = messages.partner(event);
    if (receiver.rank < 0) return;
    learn(receiver);
    merge(known(receiver), known(event));
}

void Causality::learn(StepId id) {
    const auto rank = static_cast<std::size_t>(id.rank);
    known(id)[rank] = true;
    for (const std::uint32_t before : schedules_[rank].steps[id.step].after) {
        merge(known(id), known({id.rank, before}));
    }
}

std::optional<std::string> Causality::check_all_met() const {
    for (std::size_t r = 0; r < schedules_.size(); ++r) {
        Ranks met(schedules_.size());
        met[r] = true;
        for (const Ranks& step : known_[r]) merge(met, step);
        const auto missing = std::ranges::find(met, false);
        if (missing != met.end()) {
            return "rank " + std::to_string(r) + " may leave the barrier before rank " +
                   std::to_string(missing - met.begin()) + " has entered it";
        }
    }
    return std::nullopt;
}

}  // namespace pycoll
