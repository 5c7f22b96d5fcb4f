#include "schedule_mutants.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "schedule/print.hpp"
#include "schedule_without.hpp"

namespace pycoll::test {
namespace {

using Visit = std::function<void(const Mutant&)>;

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
        change_patience();
        duplicate();
        reorder();
        reorder_sequence();
    }

private:
    [[nodiscard]] const Step& step() const { return original_.steps[i_]; }
    [[nodiscard]] bool means_something() const {
        return original_.collective != Collective::barrier && is_needed();
    }
    [[nodiscard]] bool has_peer() const {
        return is_message(step().kind) || synchronises(step().kind);
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

    /// Of what lies on a stage, a part may be of no use: whole vectors are put there, in pieces.
    [[nodiscard]] bool is_needed() const {
        return !writes(step().kind) || step().dst.buffer != Buffer::stage;
    }

    void drop() const { report("dropped", without_step(original_, i_), is_needed()); }

    void change_peer() const {
        if (!has_peer()) return;
        for (int peer = -1; peer <= original_.size; ++peer) {
            if (peer == step().peer) continue;
            edited("peer " + std::to_string(peer), true, [&](Step& s) { s.peer = peer; });
        }
        // Two messages that trade places: the same if they carry the same to peers that do not
        // care.
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
        for (const Buffer buffer :
             {Buffer::input, Buffer::output, Buffer::scratch, Buffer::stage}) {
            Step same = step();
            if (slice_of(same).buffer == buffer) continue;
            edited(which + " in buffer " + std::to_string(static_cast<int>(buffer)), false,
                   [&](Step& s) { slice_of(s).buffer = buffer; });
        }
        for (int owner = Slice::own - 1; owner <= original_.size; ++owner) {
            Step same = step();
            if (slice_of(same).owner == owner) continue;
            edited(which + " of rank " + std::to_string(owner), !is_any_rank(owner),
                   [&](Step& s) { slice_of(s).owner = owner; });
        }
    }

    /// Can a slice belong to it, as far as this rank can tell?
    [[nodiscard]] bool is_any_rank(int owner) const {
        return owner >= Slice::own && owner < original_.size && owner != original_.rank;
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
                s.dst = s.dst.part(skip, s.dst.count - less);
                for (Slice& src : s.srcs) src = src.part(skip, src.count - less);
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
            edited("operands turned round", false, [](Step& s) { std::ranges::reverse(s.srcs); });
            edited("an operand twice", true, [](Step& s) { s.srcs[0] = s.srcs[1]; });
        }
        if (step().kind == StepKind::recv_reduce) {
            edited("received without fold", true, [](Step& s) {
                s.kind = StepKind::recv;
                s.srcs.clear();
            });
        }
    }

    /// Waits for what it only expects, or the other way round.
    void change_patience() const {
        if (!takes_signal(step().kind)) return;
        const bool waits = step().kind == StepKind::wait;
        edited(waits ? "expected only" : "waited for", false,
               [&](Step& s) { s.kind = waits ? StepKind::expect : StepKind::wait; });
    }

    /// Once more at once, or at the very end.
    void duplicate() const {
        Schedule mutant = original_;
        Step again = step();
        again.after.push_back(i_);
        mutant.steps.push_back(again);
        report("again at the end", std::move(mutant), has_peer());
        std::vector<std::uint32_t> order;
        for (std::uint32_t j = 0; j <= original_.steps.size(); ++j) {
            order.push_back(j <= i_ ? j : j - 1);
        }
        report("again at once", rebuilt(order), has_peer());
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

    /// One-sided steps swapped with the next of their rank, or moved to the front or the end of
    /// their sequence, which stays one.
    void reorder_sequence() const {
        if (!is_one_sided(step())) return;
        std::vector<std::uint32_t> others;
        for (std::uint32_t k = 0; k < original_.steps.size(); ++k) {
            if (k != i_) others.push_back(k);
        }
        const auto next = std::ranges::find_if(original_.steps.begin() + i_ + 1,
                                               original_.steps.end(), is_one_sided);
        std::set<std::uint32_t> places = {0, static_cast<std::uint32_t>(others.size())};
        if (next != original_.steps.end()) {
            places.insert(static_cast<std::uint32_t>(next - original_.steps.begin()));
        }
        places.erase(i_);
        for (const std::uint32_t place : places) {
            std::vector<std::uint32_t> order = others;
            order.insert(order.begin() + place, i_);
            Schedule mutant = rebuilt(order);
            std::optional<std::uint32_t> last;
            for (std::uint32_t k = 0; k < mutant.steps.size(); ++k) {
                if (!is_one_sided(mutant.steps[k])) continue;
                if (last) mutant.steps[k].after.push_back(*last);
                last = k;
            }
            report("moved to " + std::to_string(place), std::move(mutant), false);
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

}  // namespace

void visit_mutants(const Schedule& original, std::uint32_t i, const Visit& visit) {
    Mutator(original, i, visit).all();
}

void visit_header_mutants(const Schedule& original, const Visit& visit) {
    Mutant mutant{.change = "meets_first toggled", .schedule = original, .is_wrong = true};
    mutant.schedule.meets_first = !original.meets_first;
    // Alone, in a call of several.
    if (original.size > 1) visit(mutant);
    mutant = {.change = "runs_ahead toggled", .schedule = original, .is_wrong = true};
    mutant.schedule.runs_ahead = !original.runs_ahead;
    if (original.size > 1) visit(mutant);
    mutant = {.change = "stages_alike toggled", .schedule = original, .is_wrong = true};
    mutant.schedule.stages_alike = !original.stages_alike;
    if (original.size > 1) visit(mutant);
    if (original.stage_count == 0) return;
    mutant = {.change = "a shorter stage", .schedule = original, .is_wrong = false};
    --mutant.schedule.stage_count;
    visit(mutant);
}

}  // namespace pycoll::test
