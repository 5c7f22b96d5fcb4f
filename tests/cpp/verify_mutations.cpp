#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "algorithms_call.hpp"
#include "check.hpp"
#include "schedule/print.hpp"
#include "schedule/verify.hpp"
#include "schedule_oracle.hpp"

namespace pycoll::test {
namespace {

/// One broken (or merely changed) schedule.
struct Mutant {
    std::string change;
    Schedule schedule;
    /// It cannot mean the same as before. For the others, brute force decides.
    bool is_wrong;
};

using Visit = std::function<void(const Mutant&)>;

/// Mutates step `i` of a schedule, calling `visit` with each mutant.
class Mutator {
public:
    Mutator(const Schedule& original, std::uint32_t i, const Visit& visit)
        : original_(original), i_(i), visit_(visit) {}

    void all() const {
        drop();
        change_peer();
        change_slices();
        forget_dependencies();
        change_fold();
        duplicate();
        reorder();
    }

private:
    [[nodiscard]] const Step& step() const { return original_.steps[i_]; }
    [[nodiscard]] bool means_something() const {
        return original_.collective != Collective::barrier;
    }

    void report(const std::string& change, Schedule mutant, bool is_wrong) const {
        visit_({"step " + std::to_string(i_) + " (" + to_string(step()) + "): " + change,
                std::move(mutant), is_wrong});
    }
    /// The schedule with `edit` applied to the step.
    template <typename Edit>
    void edited(const std::string& change, bool is_wrong, const Edit& edit) const {
        Schedule mutant = original_;
        edit(mutant.steps[i_]);
        report(change, std::move(mutant), is_wrong);
    }

    /// What waited for the step then waits for what the step waited for.
    void drop() const {
        Schedule mutant = original_;
        mutant.steps.erase(mutant.steps.begin() + i_);
        for (Step& other : mutant.steps) {
            std::vector<std::uint32_t> after;
            for (const std::uint32_t before : other.after) {
                if (before == i_) {
                    after.insert(after.end(), step().after.begin(), step().after.end());
                } else {
                    after.push_back(before > i_ ? before - 1 : before);
                }
            }
            other.after = after;
        }
        report("dropped", std::move(mutant), true);
    }

    void change_peer() const {
        if (!is_message(step().kind)) return;
        for (int peer = -1; peer <= original_.size; ++peer) {
            if (peer == step().peer) continue;
            edited("peer " + std::to_string(peer), true, [&](Step& s) { s.peer = peer; });
        }
        // Two messages that trade places: the same if they carry the same to peers that do not care.
        for (std::uint32_t j = i_ + 1; j < original_.steps.size(); ++j) {
            const Step& other = original_.steps[j];
            if (other.kind != step().kind || other.peer == step().peer) continue;
            Schedule mutant = original_;
            std::swap(mutant.steps[i_].peer, mutant.steps[j].peer);
            report("peer swapped with step " + std::to_string(j), std::move(mutant), false);
        }
    }

    void change_slice(const std::string& which,
                      const std::function<Slice&(Step&)>& slice_of) const {
        const auto change = [&](const std::string& what, bool is_wrong, std::int64_t offset,
                                std::int64_t count) {
            edited(which + " " + what, is_wrong, [&](Step& s) {
                Slice& slice = slice_of(s);
                slice.offset += static_cast<std::uint64_t>(offset);
                slice.count += static_cast<std::uint64_t>(count);
            });
        };
        change("shifted up", means_something(), 1, 0);
        change("shifted down", means_something(), -1, 0);
        change("widened", true, 0, 1);
        change("shortened", true, 0, -1);
        change("shortened in front", true, 1, -1);
        for (const Buffer buffer : {Buffer::input, Buffer::output, Buffer::scratch}) {
            Step same = step();
            if (slice_of(same).buffer == buffer) continue;
            edited(which + " in buffer " + std::to_string(static_cast<int>(buffer)), false,
                   [&](Step& s) { slice_of(s).buffer = buffer; });
        }
    }

    void change_slices() const {
        for (std::size_t k = 0; k < step().srcs.size(); ++k) {
            change_slice("source " + std::to_string(k),
                         [k](Step& s) -> Slice& { return s.srcs[k]; });
        }
        if (!writes(step().kind)) return;
        change_slice("destination", [](Step& s) -> Slice& { return s.dst; });
        if (step().srcs.empty()) return;
        // All slices together, so that the step still makes sense by itself.
        const auto change_all = [&](const std::string& what, std::uint64_t skip,
                                    std::uint64_t less) {
            edited("all slices " + what, means_something(), [&](Step& s) {
                s.dst = {s.dst.buffer, s.dst.offset + skip, s.dst.count - less};
                for (Slice& src : s.srcs) {
                    src = {src.buffer, src.offset + skip, src.count - less};
                }
            });
        };
        change_all("shortened", 0, 1);
        change_all("shortened in front", 1, 1);
    }

    void forget_dependencies() const {
        for (std::size_t k = 0; k < step().after.size(); ++k) {
            edited("no longer after " + std::to_string(step().after[k]), false, [&](Step& s) {
                s.after.erase(s.after.begin() + static_cast<std::ptrdiff_t>(k));
            });
        }
        if (step().after.size() > 1) {
            edited("after nothing", false, [](Step& s) { s.after.clear(); });
        }
    }

    void change_fold() const {
        edited("finish toggled", true, [](Step& s) { s.finish = !s.finish; });
        edited("message_first toggled", step().kind != StepKind::recv_reduce,
               [](Step& s) { s.message_first = !s.message_first; });
        if (step().kind == StepKind::reduce) {
            edited("operands turned round", false,
                   [](Step& s) { std::ranges::reverse(s.srcs); });
            edited("an operand twice", true, [](Step& s) { s.srcs[0] = s.srcs[1]; });
        }
        if (step().kind == StepKind::recv_reduce) {
            edited("received without fold", true, [](Step& s) {
                s.kind = StepKind::recv;
                s.srcs.clear();
            });
        }
    }

    /// Once more at once, or at the very end.
    void duplicate() const {
        Schedule mutant = original_;
        Step again = step();
        again.after.push_back(i_);
        mutant.steps.push_back(again);
        report("again at the end", std::move(mutant), is_message(step().kind));
        std::vector<std::uint32_t> order;
        for (std::uint32_t j = 0; j <= original_.steps.size(); ++j) {
            order.push_back(j <= i_ ? j : j - 1);
        }
        report("again at once", rebuilt(order), is_message(step().kind));
    }

    /// Swapped with each step that waits for it, which then does not, but is waited for.
    void reorder() const {
        for (std::uint32_t j = i_ + 1; j < original_.steps.size(); ++j) {
            if (std::ranges::find(original_.steps[j].after, i_) == original_.steps[j].after.end()) {
                continue;
            }
            std::vector<std::uint32_t> order;
            for (std::uint32_t k = 0; k < original_.steps.size(); ++k) {
                order.push_back(k == i_ ? j : (k == j ? i_ : k));
            }
            report("swapped with step " + std::to_string(j), rebuilt(order), false);
        }
    }

    /// The steps in another order, each dependency between two of them turned to point backwards.
    [[nodiscard]] Schedule rebuilt(const std::vector<std::uint32_t>& order) const {
        Schedule mutant = original_;
        mutant.steps.clear();
        for (const std::uint32_t old : order) {
            mutant.steps.push_back(original_.steps[old]);
            mutant.steps.back().after.clear();
        }
        const auto depends = [&](std::uint32_t a, std::uint32_t b) {
            const auto& after = original_.steps[a].after;
            return a == b || std::ranges::find(after, b) != after.end();
        };
        for (std::uint32_t later = 0; later < order.size(); ++later) {
            for (std::uint32_t earlier = 0; earlier < later; ++earlier) {
                if (depends(order[later], order[earlier]) ||
                    depends(order[earlier], order[later])) {
                    mutant.steps[later].after.push_back(earlier);
                }
            }
        }
        return mutant;
    }

    const Schedule& original_;
    std::uint32_t i_;
    const Visit& visit_;
};

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
    const Visit visit = [&](const Mutant& mutant) {
        mutated.schedules[rank] = mutant.schedule;
        judge(call, mutant, mutated, tally);
    };
    for (std::uint32_t i = 0; i < call.schedules[rank].steps.size(); ++i) {
        Mutator(call.schedules[rank], i, visit).all();
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
    for (int size = 2; size <= 8; ++size) {
        for (const Request& shared : small_calls(algorithm, size)) {
            const WholeCall call = whole_call(algorithm, shared);
            const auto fault = find_fault(call.requests, call.schedules);
            check(!fault, describe(shared) + ", not mutated: " + fault.value_or(""));
            for (std::size_t rank = 0; rank < call.schedules.size(); ++rank) {
                mutate(call, rank, tally);
            }
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
}  // namespace pycoll::test
