#include "schedule_without.hpp"

#include <optional>
#include <vector>

namespace pycoll::test {
namespace {

/// The k-th step by which a rank gives a signal to a peer, or takes one from it.
std::optional<std::uint32_t> find_step(const Schedule& schedule, bool takes, int peer, int k) {
    for (std::uint32_t i = 0; i < schedule.steps.size(); ++i) {
        const Step& step = schedule.steps[i];
        const bool is_such = takes ? takes_signal(step.kind) : step.kind == StepKind::signal;
        if (is_such && step.peer == peer && k-- == 0) return i;
    }
    return std::nullopt;
}

}  // namespace

Schedule without_step(const Schedule& original, std::uint32_t i) {
    Schedule mutant = original;
    const std::vector<std::uint32_t> before_it = original.steps[i].after;
    mutant.steps.erase(mutant.steps.begin() + i);
    for (Step& other : mutant.steps) {
        std::vector<std::uint32_t> after;
        for (const std::uint32_t before : other.after) {
            if (before == i) {
                after.insert(after.end(), before_it.begin(), before_it.end());
            } else {
                after.push_back(before > i ? before - 1 : before);
            }
        }
        other.after = after;
    }
    return mutant;
}

bool drop_signal(WholeCall& call, int from, int to, int k) {
    Schedule& sender = call.schedules[static_cast<std::size_t>(from)];
    Schedule& receiver = call.schedules[static_cast<std::size_t>(to)];
    const auto signal = find_step(sender, false, to, k);
    const auto taker = find_step(receiver, true, from, k);
    if (!signal || !taker) return false;
    sender = without_step(sender, *signal);
    receiver = without_step(receiver, *taker);
    return true;
}

WholeCall without_round(WholeCall call, int k) {
    const int size = static_cast<int>(call.schedules.size());
    for (int from = 0; from < size; ++from) {
        for (int to = 0; to < size; ++to) drop_signal(call, from, to, k);
    }
    return call;
}

}  // namespace pycoll::test
