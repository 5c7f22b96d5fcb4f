#include <algorithm>
#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

#include "algorithms_call.hpp"
#include "check.hpp"

namespace pycoll::test::algorithms_table {
namespace {

const Test descriptions("every algorithm has a name of its own, a cost and a source", [] {
    std::set<std::pair<Collective, std::string_view>> names;
    for (const Algorithm& algorithm : algorithms()) {
        check(names.insert({algorithm.collective, algorithm.name}).second,
              name_of(algorithm) + " is there twice");
        check(!algorithm.cost.empty() && !algorithm.source.empty(), name_of(algorithm));
        check(&find_algorithm(algorithm.collective, algorithm.name) == &algorithm,
              name_of(algorithm) + " is not found");
    }
    check(std::ranges::is_sorted(algorithms(), {}, &Algorithm::collective), "not grouped");
});

const Test coverage("every collective has an algorithm, every v-form too", [] {
    for (std::size_t i = 0; i < collective_names.size(); ++i) {
        const auto collective = static_cast<Collective>(i);
        const auto able = [&](bool counts) {
            return std::ranges::any_of(algorithms(), [&](const Algorithm& algorithm) {
                return algorithm.collective == collective && (algorithm.takes_counts || !counts);
            });
        };
        check(able(false), std::string(collective_names[i]));
        const bool has_v_form =
            collective == Collective::all_gather || collective == Collective::reduce_scatter ||
            collective == Collective::gather || collective == Collective::scatter ||
            collective == Collective::all_to_all;
        check_equal(able(true), has_v_form, std::string(collective_names[i]) + " with counts");
    }
});

const Test unknown_names("an unknown name lists the known ones", [] {
    check_throws<std::invalid_argument>(
        [] { (void)find_algorithm(Collective::all_to_all, "rnig"); },
        "all_to_all has no algorithm 'rnig'; there are: bruck, pairwise");
});

const Test purity("an algorithm depends on nothing but the request", [] {
    for (const Algorithm& algorithm : algorithms()) {
        Request request{.collective = algorithm.collective,
                        .rank = 2,
                        .size = 7,
                        .count = 23,
                        .root = rooted(algorithm.collective) ? 4 : 0,
                        .chunk = 5};
        const Schedule once = algorithm.build(request);
        check(once == algorithm.build(request), name_of(algorithm) + " differs from call to call");
        check_equal(once.rank, 2);
        check_equal(once.size, 7);
        check(once.collective == algorithm.collective, name_of(algorithm));
        request.rank = 3;
        check(once != algorithm.build(request), name_of(algorithm) + " ignores the rank");
    }
});

const Test chunk_lengths("no step is longer than a chunk", [] {
    for (const Algorithm& algorithm : algorithms()) {
        for (const Schedule& schedule :
             whole_call(algorithm, {.size = 6, .count = 50, .chunk = 7}).schedules) {
            for (const Step& step : schedule.steps) {
                if (synchronises(step.kind)) continue;
                const std::uint64_t count = writes(step.kind) ? step.dst.count : step.srcs[0].count;
                check(count <= 7, name_of(algorithm) + " has a step of " + std::to_string(count));
            }
        }
    }
});

const Test single_rank("alone, there is at most a copy, and none in place, but for stages", [] {
    for (const Algorithm& algorithm : algorithms()) {
        const Request alone{.collective = algorithm.collective, .size = 1, .count = 9};
        const Schedule schedule = algorithm.build(alone);
        const bool passes_stage = algorithm.reach == Reach::stages;
        check(schedule.steps.size() <= 1 || passes_stage || algorithm.name == "double_tree",
              name_of(algorithm));
        check_equal(schedule.scratch_count, 0U, name_of(algorithm) + " scratch");
        for (const Step& step : schedule.steps) {
            check(step.kind == StepKind::copy, name_of(algorithm));
        }
        if (!can_run_in_place(algorithm.collective) || passes_stage) continue;
        Request in_place = alone;
        in_place.in_place = true;
        check(algorithm.build(in_place).steps.empty(), name_of(algorithm) + " in place");
    }
});

const Test no_elements("without elements nothing is moved, but by a barrier", [] {
    for (const Algorithm& algorithm : algorithms()) {
        for (const Schedule& schedule : whole_call(algorithm, {.size = 5}).schedules) {
            const bool moves_nothing =
                std::ranges::all_of(schedule.steps, synchronises, &Step::kind);
            // Barriers send messages, or do signal.
            check(algorithm.collective == Collective::barrier
                      ? !schedule.steps.empty()
                      : moves_nothing &&
                            (schedule.steps.empty() || algorithm.reach != Reach::messages),
                  name_of(algorithm));
        }
    }
});

/// Most scratch that any rank of a call needs, in elements.
std::uint64_t scratch(Collective collective, std::string_view name, const Request& shared) {
    std::uint64_t most = 0;
    for (const Schedule& schedule :
         whole_call(find_algorithm(collective, name), shared).schedules) {
        most = std::max(most, schedule.scratch_count);
    }
    return most;
}

const Test small_scratch("scratch stays small", [] {
    const Request shared{.size = 8, .count = 1000};
    Request chunked = shared;
    chunked.chunk = 10;
    for (const std::string_view name : {"ring", "double_tree", "binomial", "rabenseifner"}) {
        check_equal(scratch(Collective::all_reduce, name, shared), 0U, std::string(name));
    }
    for (const Algorithm& algorithm : algorithms()) {
        if (algorithm.collective == Collective::broadcast) {
            check_equal(scratch(Collective::broadcast, algorithm.name, shared), 0U);
        }
    }
    check_equal(scratch(Collective::all_reduce, "recursive_doubling", shared), 2000U);
    check_equal(scratch(Collective::reduce_scatter, "ring", shared), 2000U, "two blocks of eight");
    check_equal(scratch(Collective::reduce_scatter, "pairwise", shared), 0U);
    check_equal(scratch(Collective::reduce_scatter, "recursive_halving", shared), 4000U, "half");
    check_equal(scratch(Collective::all_to_all, "pairwise", shared), 0U);
    check_equal(scratch(Collective::all_gather, "ring", shared), 0U);
    check_equal(scratch(Collective::reduce, "rabenseifner", shared), 500U, "half");
    for (const std::string_view name : {"binary_tree", "binomial", "chain"}) {
        check_equal(scratch(Collective::reduce, name, shared), 1000U, std::string(name));
        check_equal(scratch(Collective::reduce, name, chunked), 80U, "8 chunks");
    }
});

}  // namespace
}  // namespace pycoll::test::algorithms_table
