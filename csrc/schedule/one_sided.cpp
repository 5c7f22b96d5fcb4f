#include "schedule/one_sided.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

namespace pycoll {
namespace {

constexpr std::uint32_t never = std::numeric_limits<std::uint32_t>::max();

void merge(std::span<std::uint32_t> into, std::span<const std::uint32_t> from) {
    for (std::size_t r = 0; r < from.size(); ++r) into[r] = std::max(into[r], from[r]);
}

}  // namespace

OneSided::OneSided(std::span<const Schedule> schedules, std::span<const Placement> places)
    : schedules_(schedules), places_(places) {
    for (const Schedule& schedule : schedules) {
        const auto& steps = schedule.steps;
        clocks_.emplace_back(steps.size() * schedules.size());
        auto& until = until_.emplace_back(steps.size(), never);
        auto position = static_cast<std::uint32_t>(
            std::ranges::count_if(steps, [](const Step& step) { return is_one_sided(step); }));
        for (std::size_t i = steps.size(); i-- > 0;) {
            if (is_one_sided(steps[i])) until[i] = position--;
            for (const std::uint32_t before : steps[i].after) {
                until[before] = std::min(until[before], until[i]);
            }
        }
    }
}

const Step& OneSided::step_of(StepId id) const { return schedules_[at(id.rank)].steps[id.step]; }

void OneSided::run(StepId event, const Messages& messages) {
    const StepId partner = messages.partner(event);
    const StepKind kind = step_of(event).kind;
    learn(event);
    if (kind == StepKind::wait) merge(clock(event), clock(partner));
    // That messages order things, too, is not needed, and so not followed here.
    if (kind == StepKind::send) learn(partner);
}

void OneSided::learn(StepId id) {
    const std::span<std::uint32_t> mine = clock(id);
    for (const std::uint32_t before : step_of(id).after) merge(mine, clock({id.rank, before}));
    if (!is_one_sided(step_of(id))) return;
    const std::uint32_t position = until_[at(id.rank)][id.step];
    if (mine[at(id.rank)] + 1 != position && !out_of_sequence_) {
        out_of_sequence_ =
            name_of(id, step_of(id)) + ": does not come after all one-sided steps before it";
    }
    mine[at(id.rank)] = position;
}

/// Steps of different ranks.
bool OneSided::precedes(StepId a, StepId b) const {
    const std::uint32_t position = until_[at(a.rank)][a.step];
    return position != never && clock(b)[at(a.rank)] >= position;
}

std::optional<std::string> OneSided::find_hazard() const {
    if (out_of_sequence_) return out_of_sequence_;
    if (auto trespass = find_trespass()) return trespass;
    return find_unordered();
}

/// What any rank does with memory that its peers touch as well.
std::vector<OneSided::Access> OneSided::accesses() const {
    std::vector<Access> all;
    const auto add = [&](StepId id, Slice slice, bool writes) {
        if (slice.buffer == Buffer::scratch) return;
        if (slice.owner == Slice::own) slice.owner = id.rank;
        all.push_back({places_[at(slice.owner)].real(slice), id, writes});
    };
    for (int rank = 0; rank < static_cast<int>(schedules_.size()); ++rank) {
        const auto& steps = schedules_[at(rank)].steps;
        for (std::uint32_t i = 0; i < steps.size(); ++i) {
            for (const Slice& src : steps[i].srcs) add({rank, i}, src, false);
            if (writes(steps[i].kind)) add({rank, i}, steps[i].dst, true);
        }
    }
    std::ranges::sort(all, [](const Access& a, const Access& b) {
        return std::tie(a.slice.owner, a.slice.buffer, a.slice.offset) <
               std::tie(b.slice.owner, b.slice.buffer, b.slice.offset);
    });
    return all;
}

std::optional<std::string> OneSided::find_unordered() const {
    const std::vector<Access> all = accesses();
    for (std::size_t i = 0; i < all.size(); ++i) {
        for (std::size_t j = i + 1; j < all.size() && all[i].slice.overlaps(all[j].slice); ++j) {
            const Access& a = all[i];
            const Access& b = all[j];
            // Those of one rank are for find_hazard() of hazards.hpp.
            if (a.step.rank == b.step.rank || (!a.writes && !b.writes)) continue;
            if (precedes(a.step, b.step) || precedes(b.step, a.step)) continue;
            return name_of(a.step, step_of(a.step)) + " and " + name_of(b.step, step_of(b.step)) +
                   " touch the same elements of rank " + std::to_string(a.slice.owner) +
                   " in no fixed order";
        }
    }
    return std::nullopt;
}

/// The arrays of a peer are there from when it enters the call until it leaves.
std::optional<std::string> OneSided::find_trespass() const {
    std::vector<std::vector<std::uint32_t>> end(schedules_.size());
    for (int rank = 0; rank < static_cast<int>(schedules_.size()); ++rank) {
        end[at(rank)].resize(schedules_.size());
        const auto steps = static_cast<std::uint32_t>(schedules_[at(rank)].steps.size());
        for (std::uint32_t i = 0; i < steps; ++i) merge(end[at(rank)], clock({rank, i}));
    }
    for (int rank = 0; rank < static_cast<int>(schedules_.size()); ++rank) {
        const Schedule& schedule = schedules_[at(rank)];
        for (std::uint32_t i = 0; i < schedule.steps.size(); ++i) {
            const StepId id{rank, i};
            const auto check = [&](const Slice& slice) -> std::optional<std::string> {
                if (slice.owner == Slice::own || slice.buffer == Buffer::stage) return {};
                const std::string owner = "rank " + std::to_string(slice.owner);
                if (!schedule.meets_first && clock(id)[at(slice.owner)] == 0) {
                    return name_of(id, step_of(id)) + ": " + owner + " may not have entered yet";
                }
                if (end[at(slice.owner)][at(rank)] < until_[at(rank)][i]) {
                    return name_of(id, step_of(id)) + ": " + owner + " may have left already";
                }
                return {};
            };
            for (const Slice& src : step_of(id).srcs) {
                if (auto trespass = check(src)) return trespass;
            }
            if (!writes(step_of(id).kind)) continue;
            if (auto trespass = check(step_of(id).dst)) return trespass;
        }
    }
    return std::nullopt;
}

}  // namespace pycoll
