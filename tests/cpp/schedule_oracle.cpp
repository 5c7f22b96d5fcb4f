#include "schedule_oracle.hpp"

#include "schedule_simulator.hpp"

namespace pycoll::test {
namespace {

bool fits(const Request& request, const Schedule& schedule, const Slice& slice) {
    std::uint64_t size = schedule.scratch_count;
    if (slice.buffer == Buffer::input) {
        // Memory that both share is named by the larger buffer.
        size = input_place(request).buffer == Buffer::input ? request.input_count() : 0;
    } else if (slice.buffer == Buffer::output) {
        size = output_place(request).buffer == Buffer::output ? request.output_count() : 0;
    }
    return slice.count > 0 && slice.offset <= size && slice.count <= size - slice.offset;
}

bool is_well_formed(const Request& request, const Schedule& schedule, std::uint32_t id) {
    const Step& step = schedule.steps[id];
    if (is_message(step.kind) &&
        (step.peer < 0 || step.peer >= request.size || step.peer == request.rank)) {
        return false;
    }
    const bool folds = step.kind == StepKind::recv_reduce || step.kind == StepKind::reduce;
    if (step.finish && !folds) return false;
    if (step.message_first && step.kind != StepKind::recv_reduce) return false;
    for (const Slice& src : step.srcs) {
        if (!fits(request, schedule, src)) return false;
        if (writes(step.kind) && src.count != step.dst.count) return false;
        // In place or apart, but not half over each other.
        if (writes(step.kind) && src.overlaps(step.dst) && src != step.dst) return false;
    }
    if (writes(step.kind)) {
        if (!fits(request, schedule, step.dst)) return false;
        const Slice output = output_place(request);
        const bool within_output =
            step.dst.offset >= output.offset && step.dst.end() <= output.end();
        if (step.dst.buffer == Buffer::input &&
            !(output.buffer == Buffer::input && within_output)) {
            return false;
        }
    }
    for (const std::uint32_t before : step.after) {
        if (before >= id) return false;
    }
    return true;
}

/// reaches[a][b]: there is a chain of dependencies from step b back to step a.
std::vector<std::vector<bool>> closure(const Schedule& schedule) {
    const std::size_t count = schedule.steps.size();
    std::vector<std::vector<bool>> reaches(count, std::vector<bool>(count));
    for (std::size_t i = 0; i < count; ++i) {
        for (const std::uint32_t before : schedule.steps[i].after) {
            reaches[before][i] = true;
            for (std::size_t a = 0; a < before; ++a) {
                if (reaches[a][before]) reaches[a][i] = true;
            }
        }
    }
    return reaches;
}

bool conflict(const Step& a, const Step& b) {
    const auto touches = [](const Slice& written, const Step& other) {
        for (const Slice& src : other.srcs) {
            if (written.overlaps(src)) return true;
        }
        return writes(other.kind) && written.overlaps(other.dst);
    };
    return (writes(a.kind) && touches(a.dst, b)) || (writes(b.kind) && touches(b.dst, a));
}

bool has_race(const Schedule& schedule) {
    const auto reaches = closure(schedule);
    for (std::size_t a = 0; a < schedule.steps.size(); ++a) {
        for (std::size_t b = a + 1; b < schedule.steps.size(); ++b) {
            if (!reaches[a][b] && conflict(schedule.steps[a], schedule.steps[b])) return true;
        }
    }
    return false;
}

}  // namespace

std::optional<std::string> find_fault(const std::vector<Request>& requests,
                                      const std::vector<Schedule>& schedules) {
    for (std::size_t r = 0; r < schedules.size(); ++r) {
        for (std::uint32_t i = 0; i < schedules[r].steps.size(); ++i) {
            if (!is_well_formed(requests[r], schedules[r], i)) return "malformed";
        }
        if (has_race(schedules[r])) return "race";
    }
    if (auto failure = Simulator(requests, schedules, {}).run()) return failure;
    if (requests[0].collective == Collective::barrier) {
        for (const Request& request : requests) {
            Simulator withheld(requests, schedules, {.seed = 1, .eager = 100, .window = 4});
            if (withheld.finishes_without(request.rank) >= 0) return "somebody does not wait";
        }
    }
    return std::nullopt;
}

}  // namespace pycoll::test
