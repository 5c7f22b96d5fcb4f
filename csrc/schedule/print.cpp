#include "schedule/print.hpp"

#include <array>
#include <sstream>
#include <string_view>

namespace pycoll {
namespace {

std::string_view name(Buffer buffer) {
    constexpr std::array<std::string_view, buffer_count> names = {"input", "output", "scratch",
                                                                  "stage"};
    return names[static_cast<std::size_t>(buffer)];
}

std::string join(const std::vector<Slice>& slices) {
    std::string text;
    for (const Slice& slice : slices) {
        if (!text.empty()) text += " (+) ";
        text += to_string(slice);
    }
    return text;
}

}  // namespace

std::string to_string(const Slice& slice) {
    const std::string owner =
        slice.owner == Slice::own ? "" : "rank " + std::to_string(slice.owner) + " ";
    return owner + std::string(name(slice.buffer)) + "[" + std::to_string(slice.offset) + ":" +
           std::to_string(slice.end()) + ")";
}

std::string to_string(const Step& step) {
    const std::string peer = std::to_string(step.peer);
    const std::string last = step.finish ? ", last fold" : "";
    switch (step.kind) {
        case StepKind::send:
            return "send to " + peer + ": " + join(step.srcs);
        case StepKind::recv:
            return "recv from " + peer + ": " + to_string(step.dst);
        case StepKind::recv_reduce:
            return "recv_reduce from " + peer + ": " + to_string(step.dst) + " = " +
                   (step.message_first ? "message (+) " + join(step.srcs)
                                       : join(step.srcs) + " (+) message") +
                   last;
        case StepKind::copy:
            return "copy: " + to_string(step.dst) + " = " + join(step.srcs);
        case StepKind::reduce:
            return "reduce: " + to_string(step.dst) + " = " + join(step.srcs) + last;
        case StepKind::signal:
            return "signal " + peer;
        case StepKind::wait:
            return "wait for " + peer;
        case StepKind::expect:
            return "expect " + peer;
    }
    return "unknown step";
}

std::string to_string(const Schedule& schedule) {
    std::ostringstream text;
    text << name(schedule.collective) << ", rank " << schedule.rank << " of " << schedule.size
         << ": input " << schedule.input_count << ", output " << schedule.output_count
         << ", scratch " << schedule.scratch_count << ", stage " << schedule.stage_count
         << " elements" << (schedule.stages_alike ? " like all others" : "")
         << (schedule.meets_first ? ", all ranks meet first" : "")
         << (schedule.runs_ahead ? ", ranks may run ahead" : "") << "\n";
    for (std::size_t i = 0; i < schedule.steps.size(); ++i) {
        text.width(4);
        text << i << "  " << to_string(schedule.steps[i]);
        const auto& after = schedule.steps[i].after;
        for (std::size_t k = 0; k < after.size(); ++k) text << (k ? ", " : "  after ") << after[k];
        text << '\n';
    }
    return text.str();
}

}  // namespace pycoll
