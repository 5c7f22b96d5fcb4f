#include "schedule_oracle.hpp"

#include <algorithm>
#include <span>

#include "schedule_order.hpp"
#include "schedule_places.hpp"
#include "schedule_simulator.hpp"

namespace pycoll::test {
namespace {

using Requests = std::vector<Request>;
using Schedules = std::vector<Schedule>;

const Request& request_of(const Requests& requests, int rank) {
    return requests[static_cast<std::size_t>(rank)];
}

/// Elements that there are of a rank's own buffer.
std::uint64_t own_size(const Request& request, const Schedule& schedule, Buffer buffer) {
    switch (buffer) {
        case Buffer::input:
            // Memory that both share is named by the larger buffer.
            return input_place(request).buffer == Buffer::input ? request.input_count() : 0;
        case Buffer::output:
            return output_place(request).buffer == Buffer::output ? request.output_count() : 0;
        case Buffer::scratch:
            return schedule.scratch_count;
        case Buffer::stage:
            return schedule.stage_count;
    }
    return 0;
}

/// Elements that a peer may name of a rank's buffer: it does not know which share memory.
std::uint64_t peer_size(const Request& request, const Schedule& schedule, Buffer buffer) {
    switch (buffer) {
        case Buffer::input:
            return request.input_count();
        case Buffer::output:
            return request.output_count();
        case Buffer::scratch:
            return 0;
        case Buffer::stage:
            return schedule.stage_count;
    }
    return 0;
}

bool fits(const Requests& requests, const Schedules& schedules, int rank, const Slice& slice) {
    if (slice.owner != Slice::own &&
        (slice.owner < 0 || slice.owner >= requests[0].size || slice.owner == rank)) {
        return false;
    }
    const bool is_own = slice.owner == Slice::own;
    const auto owner = static_cast<std::size_t>(is_own ? rank : slice.owner);
    const auto size_of = is_own ? own_size : peer_size;
    const std::uint64_t size = size_of(requests[owner], schedules[owner], slice.buffer);
    return slice.count > 0 && slice.offset <= size && slice.count <= size - slice.offset;
}

/// May it be written, as far as its place goes?
bool is_writable(const Requests& requests, int rank, const Slice& slice) {
    const Slice real = real_place(requests, rank, slice);
    if (real.buffer != Buffer::input) return true;
    const Slice output = output_place(request_of(requests, real.owner));
    return output.buffer == Buffer::input && real.offset >= output.offset &&
           real.end() <= output.end();
}

bool is_visible(const Slice& slice) {
    return slice.owner != Slice::own || slice.buffer == Buffer::stage;
}

/// Does the step have to do with the memory that ranks share?
bool is_shared(const Step& step) {
    if (synchronises(step.kind)) return true;
    return (writes(step.kind) && is_visible(step.dst)) ||
           std::ranges::any_of(step.srcs, is_visible);
}

bool is_well_formed(const Requests& requests, const Schedules& schedules, int rank,
                    std::uint32_t id) {
    const Schedule& schedule = schedules[static_cast<std::size_t>(rank)];
    const Step& step = schedule.steps[id];
    const bool is_flag = synchronises(step.kind);
    if ((is_message(step.kind) || is_flag) &&
        (step.peer < 0 || step.peer >= schedule.size || step.peer == rank)) {
        return false;
    }
    if (is_message(step.kind) && is_shared(step)) return false;
    const bool folds = step.kind == StepKind::recv_reduce || step.kind == StepKind::reduce;
    if (step.finish && !folds) return false;
    if (step.message_first && step.kind != StepKind::recv_reduce) return false;
    for (const Slice& src : step.srcs) {
        if (!fits(requests, schedules, rank, src)) return false;
        if (writes(step.kind) && src.count != step.dst.count) return false;
    }
    if (writes(step.kind)) {
        if (!fits(requests, schedules, rank, step.dst)) return false;
        if (!is_writable(requests, rank, step.dst)) return false;
        const Slice dst = real_place(requests, rank, step.dst);
        for (const Slice& src : step.srcs) {
            // In place or apart, but not half over each other.
            const Slice real = real_place(requests, rank, src);
            if (real.overlaps(dst) && real != dst) return false;
        }
    }
    return std::ranges::all_of(step.after, [&](std::uint32_t before) { return before < id; });
}

/// Does step b of a rank wait for step a by the rank's own dependencies?
bool depends(const Schedule& schedule, std::uint32_t b, std::uint32_t a) {
    return std::ranges::any_of(schedule.steps[b].after, [&](std::uint32_t before) {
        return before == a || (before > a && depends(schedule, before, a));
    });
}

/// Does each step that has to do with shared memory wait for the one before it?
bool keeps_sequence(const Schedule& schedule) {
    std::optional<std::uint32_t> last;
    for (std::uint32_t i = 0; i < schedule.steps.size(); ++i) {
        if (!is_shared(schedule.steps[i])) continue;
        if (last && !depends(schedule, i, *last)) return false;
        last = i;
    }
    return true;
}

/// Does it keep to what is said of calls that run ahead, or expect nothing?
bool may_run_ahead(const Schedules& schedules, std::size_t rank) {
    const Schedule& schedule = schedules[rank];
    std::vector<int> signalled;
    for (std::size_t i = 0; i < schedule.steps.size(); ++i) {
        const StepKind kind = schedule.steps[i].kind;
        if (kind == StepKind::expect && !schedule.runs_ahead) return false;
        if (is_message(kind) && schedule.runs_ahead) return false;
        if (kind != StepKind::signal) continue;
        signalled.push_back(schedule.steps[i].peer);
        const auto before = std::span(schedule.steps).first(i);
        if (schedule.runs_ahead && std::ranges::any_of(before, takes_signal, &Step::kind)) {
            return false;
        }
    }
    const bool is_alike = schedule.stage_count == schedules[0].stage_count;
    if (!is_alike && (schedule.runs_ahead || schedule.stages_alike)) return false;
    if (!schedule.runs_ahead) return true;
    if (schedule.meets_first) return false;
    signalled.push_back(static_cast<int>(rank));
    std::ranges::sort(signalled);
    for (int peer = 0; peer < schedule.size; ++peer) {
        const auto place = static_cast<std::size_t>(peer);
        if (place >= signalled.size() || signalled[place] != peer) return false;
    }
    return signalled.size() == schedules.size();
}

/// Does some step touch the input or output of a peer that may not have entered the call, or may
/// have left it?
bool has_trespass(const Order& order, const Schedules& schedules,
                  const std::vector<Access>& accesses) {
    const auto any_step = [&](int owner, const auto& holds) {
        const auto rank = static_cast<std::size_t>(owner);
        for (std::size_t i = 0; i < schedules[rank].steps.size(); ++i) {
            if (holds(order.number(rank, i))) return true;
        }
        return false;
    };
    for (const Access& access : accesses) {
        const int owner = access.memory.owner;
        if (owner == static_cast<int>(access.rank) || access.memory.buffer == Buffer::stage) {
            continue;
        }
        const bool has_entered = schedules[0].meets_first || any_step(owner, [&](std::size_t step) {
                                     return order.before(step, access.number);
                                 });
        const bool still_there =
            any_step(owner, [&](std::size_t step) { return order.before(access.number, step); });
        if (!has_entered || !still_there) return true;
    }
    return false;
}

bool someone_does_not_wait(const Requests& requests, const Schedules& schedules) {
    return std::ranges::any_of(requests, [&](const Request& request) {
        Simulator withheld(requests, schedules, {.seed = 1, .eager = 100, .window = 4});
        return withheld.finishes_without(request.rank) >= 0;
    });
}

}  // namespace

std::optional<std::string> find_fault(const Requests& requests, const Schedules& schedules) {
    bool shares_memory = false;
    for (std::size_t r = 0; r < schedules.size(); ++r) {
        if (schedules[r].meets_first != schedules[0].meets_first) return "not all meet first";
        if (schedules[r].runs_ahead != schedules[0].runs_ahead) return "not all run ahead";
        if (schedules[r].stages_alike != schedules[0].stages_alike)
            return "not all stages are alike";
        if (!may_run_ahead(schedules, r)) return "must not run ahead";
        for (std::uint32_t i = 0; i < schedules[r].steps.size(); ++i) {
            if (!is_well_formed(requests, schedules, static_cast<int>(r), i)) return "malformed";
            shares_memory = shares_memory || is_shared(schedules[r].steps[i]);
        }
        if (!keeps_sequence(schedules[r])) return "no sequence";
    }
    const Order order(schedules);
    const std::vector<Access> all = accesses(order, requests, schedules);
    if (auto race = find_race(order, all)) return race;
    if (has_trespass(order, schedules, all)) return "trespass";
    if (auto failure = Simulator(requests, schedules, {}).run()) return failure;
    const bool must_meet = shares_memory || requests[0].collective == Collective::barrier;
    if (must_meet && !schedules[0].meets_first && someone_does_not_wait(requests, schedules)) {
        return "somebody does not wait";
    }
    return std::nullopt;
}

}  // namespace pycoll::test
