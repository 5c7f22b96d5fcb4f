#include "schedule/placement.hpp"

#include "schedule/print.hpp"

namespace pycoll {
namespace {

using Failure = std::optional<std::string>;

Failure check_slice(const Slice& slice, std::uint64_t count, const Placement& where) {
    if (slice.count != count) return "slices differ in length";
    const std::uint64_t size = where.size(slice.buffer);
    if (slice.offset > size || count > size - slice.offset) {
        return to_string(slice) + " leaves the buffer of " + std::to_string(size) + " elements";
    }
    return std::nullopt;
}

bool right_number_of_sources(const Step& step) {
    switch (step.kind) {
        case StepKind::recv:
            return step.srcs.empty();
        case StepKind::reduce:
            return step.srcs.size() >= 2;
        case StepKind::send:
        case StepKind::recv_reduce:
        case StepKind::copy:
            return step.srcs.size() == 1;
    }
    return false;
}

Failure check_step(std::uint32_t id, const Schedule& schedule, const Placement& where) {
    const Step& step = schedule.steps[id];
    if (is_message(step.kind)) {
        if (step.peer < 0 || step.peer >= schedule.size) return "there is no such peer";
        if (step.peer == schedule.rank) return "a rank sends no message to itself";
    }
    if (!right_number_of_sources(step)) return "wrong number of source slices";
    if (step.finish && step.kind != StepKind::recv_reduce && step.kind != StepKind::reduce) {
        return "only a fold can be the last fold";
    }
    if (step.message_first && step.kind != StepKind::recv_reduce) {
        return "only a received fold has a message to put first";
    }
    const std::uint64_t count = step.kind == StepKind::send ? step.srcs[0].count : step.dst.count;
    if (count == 0) return "empty step";
    for (const Slice& src : step.srcs) {
        if (auto failure = check_slice(src, count, where)) return failure;
    }
    if (writes(step.kind)) {
        if (auto failure = check_slice(step.dst, count, where)) return failure;
        if (step.dst.buffer == Buffer::input && (step.dst.offset < where.writable_input.offset ||
                                                 step.dst.end() > where.writable_input.end())) {
            return "the input must not be written";
        }
    }
    for (const std::uint32_t before : step.after) {
        if (before >= id) return "depends on a step that is not before it";
    }
    return std::nullopt;
}

}  // namespace

Placement::Placement(const Request& request, std::uint64_t scratch)
    : input{Buffer::input, 0, request.input_count()},
      output{Buffer::output, 0, request.output_count()} {
    sizes = {input.count, output.count, scratch};
    if (!request.in_place || (rooted(request.collective) && !request.is_root())) return;
    switch (request.collective) {
        case Collective::reduce_scatter:
        case Collective::scatter:
            output = request.blocks().in(Buffer::input, request.rank);
            writable_input = output;
            sizes[static_cast<std::size_t>(Buffer::output)] = 0;
            break;
        case Collective::all_gather:
        case Collective::gather:
            input = request.blocks().in(Buffer::output, request.rank);
            sizes[static_cast<std::size_t>(Buffer::input)] = 0;
            break;
        case Collective::all_reduce:
        case Collective::reduce:
        case Collective::broadcast:
        case Collective::all_to_all:
        case Collective::barrier:
            input = output;
            sizes[static_cast<std::size_t>(Buffer::input)] = 0;
            break;
    }
}

std::optional<std::string> find_malformed_step(const Schedule& schedule,
                                               const Placement& placement) {
    for (std::uint32_t i = 0; i < schedule.steps.size(); ++i) {
        if (auto failure = check_step(i, schedule, placement)) {
            return "step " + std::to_string(i) + " (" + to_string(schedule.steps[i]) +
                   "): " + *failure;
        }
    }
    return std::nullopt;
}

}  // namespace pycoll
