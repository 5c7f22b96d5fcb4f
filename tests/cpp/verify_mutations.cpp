#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "algorithms_call.hpp"
#include "check.hpp"
#include "schedule/verify.hpp"
#include "schedule_mutants.hpp"
#include "schedule_oracle.hpp"
#include "schedule_without.hpp"

namespace pycoll::test::verify_mutations {
namespace {

struct Tally {
    int rejected = 0;
    int harmless = 0;
};

void judge(const WholeCall& call, const Mutant& mutant, const WholeCall& mutated, Tally& tally) {
    const auto failure = verify(mutated.requests, mutated.schedules);
    const auto fault = find_fault(mutated.requests, mutated.schedules);
    const std::string what = describe(call.requests[0]) + ", rank " +
                             std::to_string(mutant.schedule.rank) + " " + mutant.change;
    check(failure || !mutant.is_wrong, what + ": accepted");
    check(failure || !fault, what + ": accepted, but: " + fault.value_or(""));
    check(fault || !failure, what + ": harmless, but: " + failure.value_or(""));
    ++(failure ? tally.rejected : tally.harmless);
}

/// Judges every mutant of every step of rank `rank`.
void mutate(const WholeCall& call, std::size_t rank, Tally& tally) {
    WholeCall mutated = call;
    const auto visit = [&](const Mutant& mutant) {
        mutated.schedules[rank] = mutant.schedule;
        judge(call, mutant, mutated, tally);
    };
    visit_header_mutants(call.schedules[rank], visit);
    for (std::uint32_t i = 0; i < call.schedules[rank].steps.size(); ++i) {
        visit_mutants(call.schedules[rank], i, visit);
    }
}

/// Judges calls that several ranks change alike: one signal less and what takes it, the k-th of all
/// signals less, or meets_first, runs_ahead or stages_alike toggled.
void mutate_together(const WholeCall& call, Tally& tally) {
    const auto judge_together = [&](const std::string& change, const WholeCall& mutated) {
        judge(call, {.change = change, .schedule = call.schedules[0], .is_wrong = false}, mutated,
              tally);
    };
    WholeCall toggled = call;
    for (Schedule& schedule : toggled.schedules) schedule.meets_first = !schedule.meets_first;
    judge_together("and all others: meets_first toggled", toggled);
    toggled = call;
    for (Schedule& schedule : toggled.schedules) schedule.runs_ahead = !schedule.runs_ahead;
    judge_together("and all others: runs_ahead toggled", toggled);
    toggled = call;
    for (Schedule& schedule : toggled.schedules) schedule.stages_alike = !schedule.stages_alike;
    judge_together("and all others: stages_alike toggled", toggled);
    const int size = call.requests[0].size;
    for (int k = 0;; ++k) {
        for (int from = 0; from < size; ++from) {
            for (int to = 0; to < size; ++to) {
                WholeCall mutated = call;
                if (!drop_signal(mutated, from, to, k)) continue;
                judge_together("signal " + std::to_string(k) + " from " + std::to_string(from) +
                                   " to " + std::to_string(to) + " dropped at both ends",
                               mutated);
            }
        }
        const WholeCall roundless = without_round(call, k);
        if (roundless.schedules == call.schedules) break;
        judge_together("signals " + std::to_string(k) + " of all dropped", roundless);
    }
}

/// Small calls that have everything: a rank or two beyond a power of two, a last chunk that is
/// shorter, blocks of different lengths, a root in the middle.
std::vector<Request> small_calls(const Algorithm& algorithm, int size) {
    const bool is_block = algorithm.collective != Collective::all_reduce &&
                          algorithm.collective != Collective::reduce &&
                          algorithm.collective != Collective::broadcast;
    const Request plain{.collective = algorithm.collective,
                        .size = size,
                        .count = is_block ? 2 : static_cast<std::uint64_t>(size) + 2,
                        .root = rooted(algorithm.collective) ? size / 2 : 0};
    std::vector<Request> calls = {plain};
    if (size <= 5) {
        calls.push_back(plain);
        calls.back().chunk = 2;
        if (is_block) calls.back().count = 3;
    }
    if (algorithm.takes_counts && algorithm.collective != Collective::all_to_all) {
        calls.push_back(plain);
        for (int i = 0; i < size; ++i) {
            calls.back().counts.push_back(static_cast<std::uint64_t>((i + 1) % 3));
        }
    }
    if (!can_run_in_place(algorithm.collective)) return calls;
    for (std::size_t i = 0, apart = calls.size(); i < apart; ++i) {
        calls.push_back(calls[i]);
        calls.back().in_place = true;
    }
    return calls;
}

void judge_mutants(const Algorithm& algorithm) {
    Tally tally;
    // Steps of all ranks with all ranks are many, and nothing in them depends on powers of two.
    const bool is_message = algorithm.reach == Reach::messages;
    const int largest_size = is_message ? 8 : 5;
    for (int size = 2; size <= largest_size; ++size) {
        for (const Request& shared : small_calls(algorithm, size)) {
            const WholeCall call = whole_call(algorithm, shared);
            const auto fault = find_fault(call.requests, call.schedules);
            check(!fault, describe(shared) + ", not mutated: " + fault.value_or(""));
            for (std::size_t rank = 0; rank < call.schedules.size(); ++rank) {
                mutate(call, rank, tally);
            }
            mutate_together(call, tally);
        }
    }
    // Else the mutations do not bite.
    check(tally.rejected > 200, "too few mutants: " + std::to_string(tally.rejected));
}

std::deque<Test> register_mutations() {
    static std::deque<std::string> names;
    std::deque<Test> tests;
    for (const Algorithm& algorithm : algorithms()) {
        names.push_back(name_of(algorithm) + ": mutants are rejected unless they mean the same");
        tests.emplace_back(names.back(), [&algorithm] { judge_mutants(algorithm); });
    }
    return tests;
}

const std::deque<Test> mutations = register_mutations();

}  // namespace
}  // namespace pycoll::test::verify_mutations
