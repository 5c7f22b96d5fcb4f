#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "schedule/expressions.hpp"
#include "schedule/messages.hpp"
#include "schedule/placement.hpp"
#include "schedule/request.hpp"
#include "schedule/schedule.hpp"
#include "schedule/values.hpp"

namespace pycoll {

/// The memory of all ranks, holding abstract values: which contributions each element is made of,
/// and how.
class Machine {
public:
    /// All arguments must outlive this; the schedules must be well formed and free of hazards.
    Machine(std::span<const Request> requests, std::span<const Schedule> schedules,
            std::span<const Placement> places);

    /// Runs one event, a local step or a message named by its send. Returns what is wrong with it:
    /// it reads memory that nobody has written, counts a contribution twice, or the like.
    [[nodiscard]] std::optional<std::string> run(StepId event, const Messages& messages);

    /// Compares every rank's output with what the collective promises.
    [[nodiscard]] std::optional<std::string> check_output();

private:
    using Failure = std::optional<std::string>;

    [[nodiscard]] const Step& step_of(StepId id) const;
    [[nodiscard]] Values& memory(int rank, Buffer buffer);
    /// Overwrites a slice that a step of `rank` names.
    void write(int rank, const Slice& slice, std::span<const Run> runs);
    /// The runs of a slice that a step of `rank` names in `runs`, in place of what was there.
    void read(int rank, const Slice& slice, std::vector<Run>& runs);
    [[nodiscard]] Failure copy(StepId reader, const Slice& from, StepId writer, const Slice& to);
    /// dst = operands_[0] (+) operands_[1] (+) ...
    [[nodiscard]] Failure fold(StepId id, std::size_t operands);

    [[nodiscard]] Failure check_rank(int rank);
    [[nodiscard]] Failure check_moved(const Request& request);
    [[nodiscard]] Failure check_folded(const Request& request);
    /// The runs that must end up in the output of a collective without folds.
    [[nodiscard]] std::vector<Run> promised(const Request& request) const;

    std::span<const Request> requests_;
    std::span<const Schedule> schedules_;
    std::span<const Placement> places_;
    Expressions expressions_;
    std::vector<std::array<Values, buffer_count>> memory_;
    std::vector<Blocks> blocks_;
    /// The output that rank 0 ended with, which an all-reduce promises to everybody.
    std::vector<Run> agreed_;
    // Reused from step to step.
    std::vector<Run> runs_;
    std::vector<std::vector<Run>> operands_;
};

}  // namespace pycoll
