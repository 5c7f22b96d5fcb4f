#include "schedule/messages.hpp"

#include <algorithm>

#include "schedule/print.hpp"

namespace pycoll {
namespace {

using StepNumbers = std::vector<std::uint32_t>;

/// The steps of one rank for which `wanted` holds, by peer and then in program order.
template <typename Wanted>
StepNumbers by_peer(const Schedule& schedule, Wanted&& wanted) {
    StepNumbers steps;
    for (std::uint32_t i = 0; i < schedule.steps.size(); ++i) {
        if (wanted(schedule.steps[i].kind)) steps.push_back(i);
    }
    std::ranges::stable_sort(steps, {}, [&](std::uint32_t i) { return schedule.steps[i].peer; });
    return steps;
}

bool sends(StepKind kind) { return kind == StepKind::send; }
bool signals(StepKind kind) { return kind == StepKind::signal; }

/// Those with one peer.
std::span<const std::uint32_t> channel(const StepNumbers& steps, const Schedule& schedule,
                                       int peer) {
    const auto with_peer = std::ranges::equal_range(
        steps, peer, {}, [&](std::uint32_t i) { return schedule.steps[i].peer; });
    return {with_peer.begin(), with_peer.end()};
}

}  // namespace

std::string name_of(StepId id, const Step& step) {
    return "rank " + std::to_string(id.rank) + " step " + std::to_string(id.step) + " (" +
           to_string(step) + ")";
}

Messages::Messages(std::span<const Schedule> schedules) {
    for (const Schedule& schedule : schedules) {
        partners_.emplace_back(schedule.steps.size());
        next_sends_.emplace_back(schedule.steps.size());
    }
    match(schedules, true);
    match(schedules, false);
}

/// Matches either all messages or all signals.
void Messages::match(std::span<const Schedule> schedules, bool messages) {
    const int ranks = static_cast<int>(schedules.size());
    const auto step_of = [&](StepId id) -> const Step& {
        return schedules[at(id.rank)].steps[id.step];
    };
    const auto report = [&](StepId id, const std::string& what) {
        if (!mismatch_) mismatch_ = name_of(id, step_of(id)) + what;
    };
    std::vector<StepNumbers> ins;
    for (const Schedule& schedule : schedules) {
        ins.push_back(by_peer(schedule, messages ? receives : takes_signal));
    }
    for (int from = 0; from < ranks; ++from) {
        const StepNumbers outs = by_peer(schedules[at(from)], messages ? sends : signals);
        for (auto first = outs.begin(); first != outs.end();) {
            const int to = step_of({from, *first}).peer;
            const auto out = channel(outs, schedules[at(from)], to);
            const auto in = channel(ins[at(to)], schedules[at(to)], from);
            first += static_cast<std::ptrdiff_t>(out.size());
            for (std::size_t k = 0; k < out.size(); ++k) {
                const StepId send{from, out[k]};
                if (messages && k > 0) next_sends_[at(from)][out[k - 1]] = send;
                if (k >= in.size()) {
                    report(send, ": rank " + std::to_string(to) + " never " +
                                     (messages ? "receives" : "waits for") + " it");
                    break;
                }
                const StepId recv{to, in[k]};
                partners_[at(from)][out[k]] = recv;
                partners_[at(to)][in[k]] = send;
                if (!messages) continue;
                const std::uint64_t sent = step_of(send).srcs[0].count;
                const std::uint64_t received = step_of(recv).dst.count;
                if (sent != received) {
                    report(send, " sends " + std::to_string(sent) + " elements, but " +
                                     name_of(recv, step_of(recv)) + " receives " +
                                     std::to_string(received));
                }
            }
        }
    }
    for (int to = 0; to < ranks; ++to) {
        for (const std::uint32_t step : ins[at(to)]) {
            const StepId recv{to, step};
            if (partner(recv).rank >= 0) continue;
            report(recv, ": rank " + std::to_string(step_of(recv).peer) + " never " +
                             (messages ? "sends" : "signals") + " it");
        }
    }
}

}  // namespace pycoll
