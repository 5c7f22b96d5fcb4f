#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "algorithms_call.hpp"
#include "check.hpp"
#include "schedule_order.hpp"

namespace pycoll::test::schedule_rows {
namespace {

constexpr int size = 3;

/// Elements between the areas of a stage: more than any call here needs of one.
constexpr std::uint64_t area_count = 64;

/// Which part of its stages a call uses, as executors choose it: calls that do not meet first take
/// turns with two areas, calls that do have the third to themselves.
using Area = std::uint64_t;
constexpr Area gated_area = 2;

/// Calls behind each other. What a rank does in one it does after all that it did in the one
/// before. What it expects it waits for, as executors have it where areas are used by turns.
class Row {
public:
    Row() : schedules_(static_cast<std::size_t>(size)), begins_(schedules_.size()) {}

    void add(const WholeCall& call, Area area) {
        requests_ = call.requests;
        for (std::size_t rank = 0; rank < schedules_.size(); ++rank) {
            auto& steps = schedules_[rank].steps;
            const auto begin = static_cast<std::uint32_t>(steps.size());
            for (Step step : call.schedules[rank].steps) {
                for (std::uint32_t& before : step.after) before += begin;
                for (std::uint32_t i = begins_[rank]; i < begin; ++i) step.after.push_back(i);
                for (Slice& src : step.srcs) shift(src, area);
                shift(step.dst, area);
                if (step.kind == StepKind::expect) step.kind = StepKind::wait;
                steps.push_back(std::move(step));
            }
            if (steps.size() > begin) begins_[rank] = begin;
        }
    }

    /// What meets_first asks of executors.
    void add_meeting() {
        WholeCall meeting =
            whole_call(find_algorithm(Collective::barrier, "one_shot"), {.size = size});
        add(meeting, 0);
    }

    /// Two accesses to a stage in no fixed order.
    [[nodiscard]] std::optional<std::string> find_race() const {
        const Order order(schedules_);
        std::vector<Access> all = accesses(order, requests_, schedules_);
        std::erase_if(all, [](const Access& a) { return a.memory.buffer != Buffer::stage; });
        return test::find_race(order, all);
    }

private:
    static void shift(Slice& slice, Area area) {
        if (slice.buffer == Buffer::stage) slice.offset += area * area_count;
    }

    std::vector<Request> requests_;
    std::vector<Schedule> schedules_;
    /// Where each rank's last call that had steps begins.
    std::vector<std::uint32_t> begins_;
};

WholeCall make(Collective collective, std::string_view name, int root = 0,
               std::uint64_t count = 4) {
    return whole_call(
        find_algorithm(collective, name),
        {.size = size, .count = count, .root = root, .chunk = name == "staged" ? 1U : 0U});
}

/// Every one_shot algorithm with every root.
std::vector<WholeCall> one_shot_calls() {
    std::vector<WholeCall> all;
    for (const Algorithm& algorithm : algorithms()) {
        if (algorithm.name != "one_shot") continue;
        for (int root = 0; root < (rooted(algorithm.collective) ? size : 1); ++root) {
            all.push_back(make(algorithm.collective, algorithm.name, root));
        }
    }
    return all;
}

std::string describe_row(const std::vector<const WholeCall*>& calls) {
    std::string text;
    for (const WholeCall* call : calls) {
        text += std::string(name(call->requests[0].collective)) + " root " +
                std::to_string(call->requests[0].root) + ", ";
    }
    return text;
}

const Test two_areas("one-shot calls in a row are safe with two areas of the stages", [] {
    const std::vector<WholeCall> calls = one_shot_calls();
    check_equal(calls.size(), 5U + 4U * size, "calls");
    for (const WholeCall& first : calls) {
        for (const WholeCall& second : calls) {
            for (const WholeCall& third : calls) {
                Row row;
                row.add(first, 0);
                row.add(second, 1);
                row.add(third, 0);
                const auto race = row.find_race();
                check(!race, describe_row({&first, &second, &third}) + race.value_or(""));
            }
        }
    }
});

const Test one_area("one-shot calls in a row are not safe with one area of the stages", [] {
    for (const WholeCall& call : one_shot_calls()) {
        Row row;
        row.add(call, 0);
        row.add(call, 0);
        const bool uses_stages = std::ranges::any_of(
            call.schedules, [](const Schedule& schedule) { return schedule.stage_count > 0; });
        check_equal(uses_stages, call.requests[0].collective != Collective::barrier, "stages");
        check_equal(row.find_race().has_value(), uses_stages, describe_row({&call, &call}));
    }
});

const Test messages_between("calls without stages do not count as turns", [] {
    const WholeCall one_shot = make(Collective::all_reduce, "one_shot");
    const WholeCall ring = make(Collective::all_reduce, "ring");
    Row by_use;
    by_use.add(one_shot, 0);
    by_use.add(ring, 0);
    by_use.add(one_shot, 1);
    by_use.add(one_shot, 0);
    check(!by_use.find_race(), "the turns of those with stages");
    // Messages do not order what ranks do in each other's memory.
    Row by_call;
    by_call.add(one_shot, 0);
    by_call.add(ring, 1);
    by_call.add(one_shot, 0);
    check(by_call.find_race().has_value(), "a ring between is as good as a one-shot call");
});

const Test gated("calls that meet first need an area of their own, and the meeting", [] {
    // Long enough to touch whatever the others leave behind.
    const WholeCall one_shot = make(Collective::all_reduce, "one_shot", 0, area_count);
    const WholeCall next = whole_call(find_algorithm(Collective::all_gather, "staged"),
                                      {.size = size, .count = area_count});
    for (const Algorithm& algorithm : algorithms()) {
        if (algorithm.name != "staged") continue;
        const WholeCall staged = make(algorithm.collective, "staged", 1);
        const std::string what = std::string(name(algorithm.collective));
        const auto race_with = [&](Area area, bool meets) {
            Row row;
            row.add(one_shot, 0);
            if (meets) row.add_meeting();
            row.add(staged, area);
            if (meets) row.add_meeting();
            row.add(next, area);
            row.add(one_shot, 1);
            row.add(one_shot, 0);
            return row.find_race();
        };
        const auto race = race_with(gated_area, true);
        check(!race, what + race.value_or(""));
        check(race_with(1, true).has_value(), what + ": safe in an area that others use");
        check(race_with(gated_area, false).has_value(), what + ": safe without the meeting");
    }
});

}  // namespace
}  // namespace pycoll::test::schedule_rows
