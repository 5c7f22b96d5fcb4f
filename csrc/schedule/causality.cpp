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

Causality::Causality(std::span<const Schedule> schedules, const std::vector<int>& nodes)
    : schedules_(schedules), nodes_(nodes) {
    for (std::size_t rank = 0; rank < schedules.size(); ++rank) {
        known_.emplace_back(schedules[rank].steps.size(), met_first(rank));
    }
}

Causality::Ranks Causality::met_first(std::size_t rank) const {
    Ranks met(schedules_.size());
    for (std::size_t other = 0; other < met.size(); ++other) {
        met[other] = other == rank || (schedules_[rank].meets_first &&
                                       (nodes_.empty() || nodes_[other] == nodes_[rank]));
    }
    return met;
}

void Causality::run(StepId event, const Messages& messages) {
    learn(event);
    const StepId partner = messages.partner(event);
    const Step& step = schedules_[static_cast<std::size_t>(event.rank)].steps[event.step];
    if (step.kind == StepKind::wait) {
        merge(known(event), known(partner));
    } else if (step.kind == StepKind::send) {
        learn(partner);
        merge(known(partner), known(event));
    }
}

void Causality::learn(StepId id) {
    const auto rank = static_cast<std::size_t>(id.rank);
    for (const std::uint32_t before : schedules_[rank].steps[id.step].after) {
        merge(known(id), known({id.rank, before}));
    }
}

std::optional<std::string> Causality::check_all_met() const {
    for (std::size_t r = 0; r < schedules_.size(); ++r) {
        Ranks met = met_first(r);
        for (const Ranks& step : known_[r]) merge(met, step);
        for (const Step& step : schedules_[r].steps) {
            const bool is_expected =
                step.kind == StepKind::expect && schedules_[r].collective != Collective::barrier;
            if (is_expected) met[static_cast<std::size_t>(step.peer)] = true;
        }
        const auto missing = std::ranges::find(met, false);
        if (missing != met.end()) {
            return "rank " + std::to_string(r) + " may leave the call before rank " +
                   std::to_string(missing - met.begin()) + " has entered it";
        }
    }
    return std::nullopt;
}

}  // namespace pycoll
