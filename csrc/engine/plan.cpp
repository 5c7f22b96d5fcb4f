#include "engine/plan.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <utility>

namespace pycoll {

namespace {

/// Signals to different peers with which these steps begin.
std::uint32_t signals_together(std::span<const Step> steps) {
    std::set<int> peers;
    for (const Step& step : steps) {
        if (step.kind != StepKind::signal || !peers.insert(step.peer).second) break;
    }
    return static_cast<std::uint32_t>(peers.size());
}

}  // namespace

Plan::Plan(const Schedule& schedule, std::size_t element_size, std::uint32_t window, double cached)
    : element_size_(element_size),
      scratch_bytes_(schedule.scratch_count * element_size),
      stage_bytes_(schedule.stage_count * element_size),
      size_(schedule.size),
      window_(window),
      meets_first_(schedule.meets_first),
      runs_ahead_(schedule.runs_ahead),
      stages_alike_(schedule.stages_alike) {
    const auto place = [&](const Slice& slice) {
        touches_arrays_of_peers_ |= slice.owner != Slice::own && slice.buffer != Buffer::stage;
        return Place{base(slice.buffer, slice.owner), slice.offset * element_size};
    };
    // Receives first, so that they are posted before the sends that provoke the answers.
    std::map<std::pair<bool, int>, std::vector<std::uint32_t>> channels;
    std::vector<std::vector<std::uint32_t>> successors(schedule.steps.size());

    const std::span<const Step> steps = schedule.steps;
    std::uint32_t together_end = 0;
    for (std::uint32_t i = 0; i < schedule.steps.size(); ++i) {
        const Step& step = schedule.steps[i];
        is_one_sided_ |= pycoll::is_one_sided(step);
        const auto srcs = static_cast<std::uint32_t>(places_.size());
        for (const Slice& src : step.srcs) places_.push_back(place(src));
        steps_.push_back({
            .kind = step.kind,
            .finish = step.finish,
            .message_first = step.message_first,
            .leaves_caches = false,
            .reads_alone = false,
            .peer = step.peer,
            .together = i < together_end ? 0 : signals_together(steps.subspan(i)),
            .copies = 0,
            .channel = 0,
            .count = step.kind == StepKind::send ? step.srcs[0].count : step.dst.count,
            .dst = place(step.dst),
            .srcs = srcs,
            .srcs_end = static_cast<std::uint32_t>(places_.size()),
            .successors = 0,
            .successors_end = 0,
        });
        together_end = std::max(together_end, i + steps_.back().together);
        pending_.push_back(static_cast<std::uint32_t>(step.after.size()));
        for (const std::uint32_t before : step.after) successors[before].push_back(i);
        if (is_message(step.kind)) {
            channels[{step.kind == StepKind::send, step.peer}].push_back(i);
        } else if (step.after.empty()) {
            first_local_.push_back(i);
        }
    }
    for (std::size_t i = 0; i < steps_.size(); ++i) {
        steps_[i].successors = static_cast<std::uint32_t>(successors_.size());
        successors_.insert(successors_.end(), successors[i].begin(), successors[i].end());
        steps_[i].successors_end = static_cast<std::uint32_t>(successors_.size());
    }
    for (const auto& [key, members] : channels) {
        const auto begin = static_cast<std::uint32_t>(channel_steps_.size());
        for (const std::uint32_t step : members) {
            steps_[step].channel = static_cast<std::uint32_t>(channels_.size());
            channel_steps_.push_back(step);
        }
        channels_.push_back({begin, static_cast<std::uint32_t>(channel_steps_.size())});
    }
    mark_copies_that_leave_caches(schedule, cached);
    mark_copies_of_folds(schedule);
    mark_lone_readers(schedule);
}

/// Of more ranks, some share a core with the writer, and others read the same: 4 and 8 ranks on 2
/// cores gain nothing. Nor do two where they write into each other's stages: there readers write
/// next as it is.
void Plan::mark_lone_readers(const Schedule& schedule) {
    // Nobody waits until a few lines are written.
    constexpr std::size_t least = 2 << 10;
    if (schedule.size != 2) return;
    for (const PlanStep& step : steps_) {
        if (is_stage_of_peer(step.dst)) return;
    }
    for (PlanStep& step : steps_) {
        step.reads_alone = step.count * element_size_ >= least &&
                           std::any_of(places_.begin() + step.srcs, places_.begin() + step.srcs_end,
                                       is_stage_of_peer);
    }
}

/// Where what all ranks together take out, and what they read for that, is more than the caches
/// hold. Not what is copied from one output to others: an all-reduce in place has just read what it
/// overwrites there.
void Plan::mark_copies_that_leave_caches(const Schedule& schedule, double cached) {
    const auto takes_out = [](const Step& step) {
        return step.kind == StepKind::copy && step.dst.buffer == Buffer::output &&
               step.srcs[0].buffer != Buffer::output;
    };
    std::uint64_t touched = 0;
    Slice last = {};
    for (const Step& step : schedule.steps) {
        if (step.kind != StepKind::copy) continue;
        if (takes_out(step)) touched += step.dst.count;
        // What goes to several places is read once.
        const Slice& read = step.srcs[0];
        if (read.buffer == Buffer::input && read != last) touched += read.count;
        last = read;
    }
    if (static_cast<double>(touched * element_size_) * size_ < cached) return;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
        steps_[i].leaves_caches = takes_out(schedule.steps[i]);
    }
}

/// Only where an element's copies overwrite nothing that the fold has yet to read for another one.
/// In an all-reduce an input that shares memory with an output has the same elements in the same
/// places; other collectives make no copies of what they fold.
void Plan::mark_copies_of_folds(const Schedule& schedule) {
    if (schedule.collective != Collective::all_reduce) return;
    const auto memory = [&](Slice slice) {
        if (slice.owner == Slice::own) slice.owner = schedule.rank;
        if (slice.buffer == Buffer::input) slice.buffer = Buffer::output;
        return slice;
    };
    for (std::size_t i = 0; i < steps_.size(); ++i) {
        const Step& fold = schedule.steps[i];
        if (fold.kind != StepKind::reduce) continue;
        std::vector<Slice> written = {memory(fold.dst)};
        const auto goes_along = [&](std::size_t next) {
            const Step& step = schedule.steps[next];
            if (step.kind != StepKind::copy || step.srcs[0] != fold.dst) return false;
            if (steps_[next].leaves_caches) return false;
            const Slice to = memory(step.dst);
            return std::ranges::none_of(written, [&](const Slice& w) { return w.overlaps(to); }) &&
                   std::ranges::all_of(fold.srcs, [&](const Slice& src) {
                       return memory(src) == to || !memory(src).overlaps(to);
                   });
        };
        std::size_t next = i + 1;
        for (; next < steps_.size() && goes_along(next); ++next) {
            written.push_back(memory(schedule.steps[next].dst));
        }
        steps_[i].copies = static_cast<std::uint32_t>(next - i - 1);
    }
}

}  // namespace pycoll
