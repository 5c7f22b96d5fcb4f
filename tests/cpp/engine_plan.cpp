// What an executor may do in one pass over memory.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "algorithms/algorithms.hpp"
#include "check.hpp"
#include "engine/plan.hpp"

namespace pycoll::test::engine_plan {
namespace {

constexpr Slice out{Buffer::output, 0, 8};

Step fold_into(const Slice& dst, const std::vector<Slice>& srcs) {
    return {.kind = StepKind::reduce, .finish = true, .dst = dst, .srcs = srcs, .after = {}};
}

Step copy_to(const Slice& dst, const Slice& src) {
    return {.kind = StepKind::copy, .dst = dst, .srcs = {src}, .after = {0}};
}

/// Copies that go along with the first step, of rank 0 of 3.
std::uint32_t copies_along(const std::vector<Step>& steps,
                           Collective collective = Collective::all_reduce) {
    const Schedule schedule{.collective = collective,
                            .rank = 0,
                            .size = 3,
                            .input_count = 16,
                            .output_count = 16,
                            .steps = steps};
    return Plan(schedule, 4).steps()[0].copies;
}

const Test direct("plan: a direct all-reduce makes each fold's copies with the fold", [] {
    for (const int size : {2, 3, 8}) {
        const Request request{.rank = 1, .size = size, .count = 1000, .chunk = 10};
        const Plan plan(find_algorithm(request.collective, "direct").build(request), 4);
        for (const Plan::PlanStep& step : plan.steps()) {
            const bool folds = step.kind == StepKind::reduce;
            check_equal(step.copies, folds ? static_cast<std::uint32_t>(size) - 1 : 0);
        }
    }
});

const Test staged("plan: what a staged all-reduce folds goes into its stage as well", [] {
    const Request request{.rank = 1, .size = 2, .count = 1000, .chunk = 10};
    const Plan plan(find_algorithm(request.collective, "staged").build(request), 4);
    for (const Plan::PlanStep& step : plan.steps()) {
        if (step.kind == StepKind::reduce) check_equal(step.copies, 1U);
    }
});

/// How many copies of rank 0 of 2 go past the caches.
std::ptrdiff_t past_caches(Collective collective, bool in_place, const auto&... cached) {
    const Request request{.collective = collective,
                          .rank = 0,
                          .size = 2,
                          .count = 1000,
                          .chunk = 1000,
                          .in_place = in_place};
    const Schedule schedule = find_algorithm(collective, "direct").build(request);
    return std::ranges::count_if(Plan(schedule, 4, Plan::default_window, cached...).steps(),
                                 &Plan::PlanStep::leaves_caches);
}

const Test leaving_caches("plan: what all ranks copy goes past the caches from a length on", [] {
    // Each of two reads a block of 4000 bytes and writes it twice, or reads two and writes two.
    check_equal(past_caches(Collective::all_gather, false, 24'001), 0);
    check_equal(past_caches(Collective::all_gather, false, 24'000), 2);
    check_equal(past_caches(Collective::all_to_all, false, 32'001), 0);
    check_equal(past_caches(Collective::all_to_all, false, 32'000), 2);
    // Without a number: as usual with the processor.
    check_equal(past_caches(Collective::all_gather, false), 0);
    // What it folds and copies on, it has just read.
    check_equal(past_caches(Collective::all_reduce, true, 1), 0);
});

const Test what_goes_along(
    "plan: a copy goes along unless it overwrites what the fold still reads", [] {
        const Slice in{Buffer::input, 0, 8};
        const Step fold = fold_into(out, {in, in.of(1), in.of(2)});
        const Slice away{Buffer::output, 8, 8};
        // Their arrays may be the same ones.
        check_equal(copies_along({fold, copy_to(out.of(1), out), copy_to(out.of(2), out)}), 2U);
        check_equal(copies_along({fold, copy_to(away.of(1), out)}), 1U);
        const Slice shifted{Buffer::output, 1, 8};
        check_equal(copies_along({fold, copy_to(shifted.of(1), out)}), 0U);
        check_equal(copies_along({fold, copy_to(out.of(2), out), copy_to(shifted.of(1), out)}), 1U);
    });

const Test what_does_not(
    "plan: only copies of the whole result, at once and in other places, go along", [] {
        const Step fold = fold_into(out, {out, out.of(1)});
        const Step copy = copy_to(out.of(1), out);
        check_equal(copies_along({fold, copy}), 1U);
        check_equal(copies_along({fold, copy, copy}), 1U);
        check_equal(copies_along({fold, copy_to(out.of(1), out.of(2))}), 0U);
        check_equal(copies_along({fold, copy_to(out.part(0, 4).of(1), out.part(0, 4))}), 0U);
        const Step signal{.kind = StepKind::signal, .peer = 1, .dst = {}, .srcs = {}, .after = {0}};
        check_equal(copies_along({fold, signal, copy}), 0U);
        // In others an input may lie elsewhere in an output.
        check_equal(copies_along({fold, copy}, Collective::reduce_scatter), 0U);
    });

const Test alone(
    "plan: of two ranks each takes over what it reads in the other's stage, if it is much", [] {
        const auto takes_over = [](Collective collective, std::string_view name, int size,
                                   std::uint64_t count) {
            const Request request{
                .collective = collective, .rank = 1, .size = size, .count = count};
            const Plan plan(find_algorithm(collective, name).build(request), 4);
            return std::ranges::count_if(plan.steps(), &Plan::PlanStep::reads_alone);
        };
        check_equal(takes_over(Collective::all_reduce, "one_shot", 2, 1024), 1);
        check_equal(takes_over(Collective::all_gather, "staged", 2, 1024), 1);
        check_equal(takes_over(Collective::all_reduce, "one_shot", 2, 8), 0, "a line");
        check_equal(takes_over(Collective::all_reduce, "one_shot", 3, 1024), 0, "others read it");
        check_equal(takes_over(Collective::all_reduce, "staged_ring", 2, 1024), 0,
                    "migrates by itself");
        check_equal(takes_over(Collective::all_reduce, "direct", 2, 1024), 0, "no stages");
    });

}  // namespace
}  // namespace pycoll::test::engine_plan
