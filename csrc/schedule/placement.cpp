#include "schedule/placement.hpp"

#include "schedule/print.hpp"

namespace pycoll {
namespace {

using Failure = std::optional<std::string>;

Failure check_range(const Slice& slice, std::uint64_t size) {
    if (slice.offset <= size && slice.count <= size - slice.offset) return std::nullopt;
    return to_string(slice) + " leaves the buffer of " + std::to_string(size) + " elements";
}

Failure check_slice(const Slice& slice, std::uint64_t count, const Schedule& schedule,
                    std::span<const Placement> places) {
    if (slice.count != count) return "slices differ in length";
    const auto self = static_cast<std::size_t>(schedule.rank);
    if (slice.owner == Slice::own) return check_range(slice, places[self].size(slice.buffer));
    if (slice.owner < 0 || slice.owner >= schedule.size) return "there is no such peer";
    if (slice.owner == schedule.rank) return "names its own memory as a peer's";
    const Placement& owner = places[static_cast<std::size_t>(slice.owner)];
    switch (slice.buffer) {
        case Buffer::input:
            return check_range(slice, owner.input.count);
        case Buffer::output:
            return check_range(slice, owner.output.count);
        case Buffer::stage:
            return check_range(slice, owner.size(Buffer::stage));
        case Buffer::scratch:
            break;
    }
    return "a peer's scratch is out of reach";
}

Failure check_written(const Slice& dst, const Schedule& schedule,
                      std::span<const Placement> places) {
    const int owner = dst.owner == Slice::own ? schedule.rank : dst.owner;
    const Placement& where = places[static_cast<std::size_t>(owner)];
    const Slice real = where.real(dst);
    if (real.buffer == Buffer::input &&
        (real.offset < where.writable_input.offset || real.end() > where.writable_input.end())) {
        return "the input must not be written";
    }
    return std::nullopt;
}

bool right_number_of_sources(const Step& step) {
    switch (step.kind) {
        case StepKind::recv:
        case StepKind::signal:
        case StepKind::wait:
        case StepKind::expect:
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

Failure check_peer(const Step& step, const Schedule& schedule) {
    if (!is_message(step.kind) && !synchronises(step.kind)) return std::nullopt;
    if (step.peer < 0 || step.peer >= schedule.size) return "there is no such peer";
    if (step.peer == schedule.rank) return "a rank sends no message to itself";
    if (is_message(step.kind) && is_one_sided(step)) {
        return "messages go from and to private memory";
    }
    return std::nullopt;
}

Failure check_step(std::uint32_t id, const Schedule& schedule, std::span<const Placement> places) {
    const Step& step = schedule.steps[id];
    if (auto failure = check_peer(step, schedule)) return failure;
    if (!right_number_of_sources(step)) return "wrong number of source slices";
    if (step.finish && step.kind != StepKind::recv_reduce && step.kind != StepKind::reduce) {
        return "only a fold can be the last fold";
    }
    if (step.message_first && step.kind != StepKind::recv_reduce) {
        return "only a received fold has a message to put first";
    }
    for (const std::uint32_t before : step.after) {
        if (before >= id) return "depends on a step that is not before it";
    }
    if (synchronises(step.kind)) return std::nullopt;
    const std::uint64_t count = step.kind == StepKind::send ? step.srcs[0].count : step.dst.count;
    if (count == 0) return "empty step";
    for (const Slice& src : step.srcs) {
        if (auto failure = check_slice(src, count, schedule, places)) return failure;
    }
    if (!writes(step.kind)) return std::nullopt;
    if (auto failure = check_slice(step.dst, count, schedule, places)) return failure;
    return check_written(step.dst, schedule, places);
}

}  // namespace

Placement::Placement(const Request& request, std::uint64_t scratch, std::uint64_t stage)
    : input{Buffer::input, 0, request.input_count()},
      output{Buffer::output, 0, request.output_count()} {
    sizes = {input.count, output.count, scratch, stage};
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

Slice Placement::real(Slice slice) const {
    const auto inside = [&](const Slice& where) {
        return Slice{where.buffer, where.offset + slice.offset, slice.count, slice.owner};
    };
    switch (slice.buffer) {
        case Buffer::input:
            return inside(input);
        case Buffer::output:
            return inside(output);
        case Buffer::scratch:
        case Buffer::stage:
            break;
    }
    return slice;
}

std::optional<std::string> find_malformed_step(const Schedule& schedule,
                                               std::span<const Placement> places) {
    for (std::uint32_t i = 0; i < schedule.steps.size(); ++i) {
        if (auto failure = check_step(i, schedule, places)) {
            return "step " + std::to_string(i) + " (" + to_string(schedule.steps[i]) +
                   "): " + *failure;
        }
    }
    return std::nullopt;
}

}  // namespace pycoll
