#include "schedule_order.hpp"

#include <algorithm>

#include "schedule_places.hpp"

namespace pycoll::test {
namespace {

bool gives_signal(StepKind kind) { return kind == StepKind::signal; }

}  // namespace

Order::Order(const std::vector<Schedule>& schedules) {
    std::size_t count = 0;
    for (const Schedule& schedule : schedules) {
        first_.push_back(count);
        count += schedule.steps.size();
    }
    reaches_.assign(count, std::valarray<std::uint64_t>(count / 64 + 1));
    for (std::size_t rank = 0; rank < schedules.size(); ++rank) {
        const auto& steps = schedules[rank].steps;
        for (std::size_t i = 0; i < steps.size(); ++i) {
            for (const std::uint32_t before : steps[i].after) {
                add(number(rank, before), number(rank, i));
            }
        }
        for (std::size_t to = 0; to < schedules.size(); ++to) add_signals(schedules, rank, to);
    }
    // Warshall's algorithm.
    for (std::size_t via = 0; via < count; ++via) {
        for (std::size_t a = 0; a < count; ++a) {
            if (before(a, via)) reaches_[a] |= reaches_[via];
        }
    }
}

void Order::add_signals(const std::vector<Schedule>& schedules, std::size_t from, std::size_t to) {
    const auto with = [&](std::size_t rank, bool (&wanted)(StepKind), std::size_t peer) {
        std::vector<std::size_t> numbers;
        for (std::size_t i = 0; i < schedules[rank].steps.size(); ++i) {
            const Step& step = schedules[rank].steps[i];
            if (wanted(step.kind) && step.peer == static_cast<int>(peer)) {
                numbers.push_back(number(rank, i));
            }
        }
        return numbers;
    };
    const auto signals = with(from, gives_signal, to);
    const auto takers = with(to, takes_signal, from);
    for (std::size_t k = 0; k < std::min(signals.size(), takers.size()); ++k) {
        // What is only expected orders nothing.
        const std::size_t step = takers[k] - first_[to];
        if (schedules[to].steps[step].kind == StepKind::wait) add(signals[k], takers[k]);
    }
}

std::vector<Access> accesses(const Order& order, const std::vector<Request>& requests,
                             const std::vector<Schedule>& schedules) {
    std::vector<Access> all;
    for (std::size_t rank = 0; rank < schedules.size(); ++rank) {
        const auto& steps = schedules[rank].steps;
        for (std::size_t i = 0; i < steps.size(); ++i) {
            const auto add = [&](const Slice& slice, bool is_written) {
                all.push_back({.number = order.number(rank, i),
                               .memory = real_place(requests, static_cast<int>(rank), slice),
                               .writes = is_written,
                               .rank = rank,
                               .step = i});
            };
            for (const Slice& src : steps[i].srcs) add(src, false);
            if (writes(steps[i].kind)) add(steps[i].dst, true);
        }
    }
    return all;
}

std::optional<std::string> find_race(const Order& order, const std::vector<Access>& accesses) {
    for (std::size_t i = 0; i < accesses.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            const Access& a = accesses[i];
            const Access& b = accesses[j];
            if (a.number == b.number || (!a.writes && !b.writes)) continue;
            if (!a.memory.overlaps(b.memory)) continue;
            if (order.before(a.number, b.number) || order.before(b.number, a.number)) continue;
            return "race of rank " + std::to_string(b.rank) + " step " + std::to_string(b.step) +
                   " with rank " + std::to_string(a.rank) + " step " + std::to_string(a.step);
        }
    }
    return std::nullopt;
}

}  // namespace pycoll::test
