#include "schedule/messages.hpp"

#include <algorithm>

#include "schedule/print.hpp"

namespace pycoll {
namespace {

using StepNumbers = std::vector<std::uint32_t>;

/// The messages of one rank in one direction, by peer and then in program order.
StepNumbers by_peer(const Schedule& schedule, bool sends) {
    StepNumbers steps;
    for (std::uint32_t i = 0; i < schedule.steps.size(); ++i) {
        const StepKind kind = schedule.steps[i].kind;
        if (sends ? kind == StepKind::send : receives(kind)) steps.push_back(i);
    }
    std::ranges::stable_sort(steps, {}, [&](std::uint32_t i) { return schedule.steps[i].peer; });
    return steps;
}

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
    const int ranks = static_cast<int>(schedules.size());
    const auto step_of = [&](StepId id) -> const Step& {
        return schedules[at(id.rank)].steps[id.step];
    };
    const auto report = [&](const std::string& what) {
        if (!mismatch_) mismatch_ = what;
    };
    std::vector<StepNumbers> recvs;
    for (const Schedule& schedule : schedules) {
        recvs.push_back(by_peer(schedule, false));
        partners_.emplace_back(schedule.steps.size());
        next_sends_.emplace_back(schedule.steps.size());
    }
    for (int from = 0; from < ranks; ++from) {
        const StepNumbers sends = by_peer(schedules[at(from)], true);
        for (auto first = sends.begin(); first != sends.end();) {
            const int to = step_of({from, *first}).peer;
            const auto out = channel(sends, schedules[at(from)], to);
            const auto in = channel(recvs[at(to)], schedules[at(to)], from);
            first += static_cast<std::ptrdiff_t>(out.size());
            for (std::size_t k = 0; k < out.size(); ++k) {
                const StepId send{from, out[k]};
                if (k > 0) next_sends_[at(from)][out[k - 1]] = send;
                if (k >= in.size()) {
                    report(name_of(send, step_of(send)) + ": rank " + std::to_string(to) +
                           " never receives it");
                    break;
                }
                const StepId recv{to, in[k]};
                partners_[at(from)][out[k]] = recv;
                partners_[at(to)][in[k]] = send;
                const std::uint64_t sent = step_of(send).srcs[0].count;
                const std::uint64_t received = step_of(recv).dst.count;
                if (sent != received) {
                    report(name_of(send, step_of(send)) + " sends " + std::to_string(sent) +
                           " elements, but " + name_of(recv, step_of(recv)) + " receives " +
                           std::to_string(received));
                }
            }
        }
    }
    for (int to = 0; to < ranks; ++to) {
        for (const std::uint32_t step : recvs[at(to)]) {
            if (partner({to, step}).rank >= 0) continue;
            const StepId recv{to, step};
            report(name_of(recv, step_of(recv)) + ": rank " + std::to_string(step_of(recv).peer) +
                   " never sends it");
        }
    }
}

}  // namespace pycoll
