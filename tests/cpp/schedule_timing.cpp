#include <cstdint>
#include <deque>
#include <string>

#include "algorithms_call.hpp"
#include "check.hpp"
#include "schedule/verify.hpp"
#include "schedule_simulator.hpp"
#include "schedule_without.hpp"

namespace pycoll::test::schedule_timing {
namespace {

/// Rendezvous only, eager only, and mixtures; one message at a time or a few.
Simulator::Timing timing(std::uint32_t seed) {
    return {.seed = seed, .eager = seed % 3 * 50, .window = seed % 2 == 0 ? 1 : 4};
}

Request small_call(const Algorithm& algorithm, int size, std::uint64_t chunk, bool in_place) {
    return {.collective = algorithm.collective,
            .size = size,
            .count = static_cast<std::uint64_t>(size) + 2,
            .root = rooted(algorithm.collective) ? size - 1 : 0,
            .chunk = chunk,
            .in_place = in_place};
}

void run_under_many_timings(const Algorithm& algorithm) {
    for (int size = 1; size <= 8; ++size) {
        for (const std::uint64_t chunk : std::vector<std::uint64_t>{0, 2}) {
            for (const bool in_place : {false, true}) {
                if (in_place && !can_run_in_place(algorithm.collective)) continue;
                const Request shared = small_call(algorithm, size, chunk, in_place);
                const WholeCall call = whole_call(algorithm, shared);
                for (std::uint32_t seed = 0; seed < 6; ++seed) {
                    const auto failure =
                        Simulator(call.requests, call.schedules, timing(seed)).run();
                    check(!failure, describe(shared) + ", timing " + std::to_string(seed) + ": " +
                                        failure.value_or(""));
                }
            }
        }
    }
}

std::deque<Test> register_timings() {
    static std::deque<std::string> names;
    std::deque<Test> tests;
    for (const Algorithm& algorithm : algorithms()) {
        names.push_back(name_of(algorithm) + " computes the same under every timing");
        tests.emplace_back(names.back(), [&algorithm] { run_under_many_timings(algorithm); });
    }
    return tests;
}

const std::deque<Test> timings = register_timings();

// A receive that overwrites what was sent long ago is not among them: the answer to the message may
// show that it has been read, but the transport may still hold on to the buffer.
const Test races_are_real(
    "a send that does not wait for what it passes on fails in some timing", [] {
        const Algorithm& ring = find_algorithm(Collective::all_reduce, "ring");
        const WholeCall call = whole_call(ring, small_call(ring, 3, 1, true));
        int broken_sends = 0;
        for (std::uint32_t i = 0; i < call.schedules[0].steps.size(); ++i) {
            const Step& step = call.schedules[0].steps[i];
            if (step.kind != StepKind::send || step.after.empty()) continue;
            ++broken_sends;
            WholeCall broken = call;
            broken.schedules[0].steps[i].after.clear();
            check(verify(broken.requests, broken.schedules).has_value(), "verify accepts it");
            bool harmed = false;
            for (std::uint32_t seed = 0; seed < 200 && !harmed; ++seed) {
                harmed =
                    Simulator(broken.requests, broken.schedules, timing(seed)).run().has_value();
            }
            check(harmed, "step " + std::to_string(i) + " does no harm");
        }
        check(broken_sends > 0, "no send waits");
    });

const Test rounds_are_real("a staged call without a round of signals fails in some timing", [] {
    const Algorithm& staged = find_algorithm(Collective::all_gather, "staged");
    const WholeCall call =
        whole_call(staged, {.collective = staged.collective, .size = 3, .count = 4, .chunk = 1});
    for (int round = 0; round < 4; ++round) {
        const WholeCall broken = without_round(call, round);
        bool harmed = false;
        for (std::uint32_t seed = 0; seed < 200 && !harmed; ++seed) {
            harmed = Simulator(broken.requests, broken.schedules, timing(seed)).run().has_value();
        }
        check(harmed, "round " + std::to_string(round) + " does no harm");
    }
});

const Test trespasses_are_real("a direct call that does not meet fails in some timing", [] {
    const Algorithm& direct = find_algorithm(Collective::all_reduce, "direct");
    const WholeCall call = whole_call(direct, small_call(direct, 3, 0, false));
    WholeCall starts_at_once = call;
    for (Schedule& schedule : starts_at_once.schedules) schedule.meets_first = false;
    for (const WholeCall& broken : {starts_at_once, without_round(call, 0)}) {
        bool harmed = false;
        for (std::uint32_t seed = 0; seed < 200 && !harmed; ++seed) {
            harmed = Simulator(broken.requests, broken.schedules, timing(seed)).run() ==
                     "touches an array that is not there";
        }
        check(harmed, "it does no harm");
    }
});

}  // namespace
}  // namespace pycoll::test::schedule_timing
