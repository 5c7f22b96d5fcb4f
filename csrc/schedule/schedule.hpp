#pragma once

#include <cstdint>
#include <vector>

#include "core/collective.hpp"
#include "core/slice.hpp"

namespace pycoll {

enum class StepKind : std::uint8_t {
    send,         ///< message srcs[0] to `peer`
    recv,         ///< message from `peer` into dst
    recv_reduce,  ///< dst = srcs[0] (+) message from `peer`
    copy,         ///< dst = srcs[0]
    reduce,       ///< dst = srcs[0] (+) srcs[1] (+) ..., left to right
    signal,       ///< tell `peer` that what came before is done
    wait,         ///< until `peer` has told so
    expect,       ///< that `peer` will tell so, sooner or later: takes its signal on credit
};

/// One action of one rank. A step may start when every step in `after` is complete and, for a
/// message, when the earlier messages of its channel have been posted. Slices of copies and folds
/// may belong to peers on the same node: signals and waits order such accesses.
struct Step {
    StepKind kind = StepKind::copy;
    /// The last fold of these elements: `avg` divides here, once.
    bool finish = false;
    /// recv_reduce only: the message is the left operand. Two ranks that fold the same pair of
    /// values must agree on the order, or NaN payloads and signed zeros make their bits differ.
    bool message_first = false;
    int peer = -1;
    Slice dst;
    std::vector<Slice> srcs;
    std::vector<std::uint32_t> after;

    bool operator==(const Step&) const = default;
};

[[nodiscard]] constexpr bool receives(StepKind kind) {
    return kind == StepKind::recv || kind == StepKind::recv_reduce;
}
[[nodiscard]] constexpr bool is_message(StepKind kind) {
    return kind == StepKind::send || receives(kind);
}
/// Takes a signal, whether it has come or not.
[[nodiscard]] constexpr bool takes_signal(StepKind kind) {
    return kind == StepKind::wait || kind == StepKind::expect;
}
/// Gives or takes a signal: it moves nothing.
[[nodiscard]] constexpr bool synchronises(StepKind kind) {
    return kind == StepKind::signal || takes_signal(kind);
}
[[nodiscard]] constexpr bool writes(StepKind kind) {
    return kind != StepKind::send && !synchronises(kind);
}
/// Does the step touch what other ranks can see, or order such accesses?
[[nodiscard]] bool is_one_sided(const Step& step);

/// What one rank does in one collective call: a value that can be compared, printed, verified,
/// priced and executed.
///
/// Messages between two ranks match in the order of the steps: the k-th send from a to b meets
/// the k-th receive at b from a (a *channel*). Executors post them in that order, too. Likewise the
/// k-th wait at b for a ends with the k-th signal from a to b; a signal never blocks. An
/// expectation takes a signal as a wait does, but need not wait for it, and orders nothing.
///
/// What a schedule with one-sided steps may rely on at its start, besides its own input:
///  - every rank's stage is free, since executors let nobody have it whom a peer may still be
///    reading in an earlier call;
///  - if `meets_first`, all ranks of the node have entered the call. Otherwise the schedule itself
///    must see to it that no rank ends before all have entered, but those whose signals it only
///    expects: executors rely on that for the stages of later calls.
///
/// In a call that `runs_ahead`, ranks may be several calls ahead of others, and expect signals. For
/// executors to know by how many, and that it does no harm to wait for what is expected, every rank
/// gives every other one signal, before it takes any, sends no messages, and uses as much of its
/// stage as the others.
struct Schedule {
    Collective collective = Collective::barrier;
    int rank = 0;
    int size = 1;
    std::uint64_t input_count = 0;
    std::uint64_t output_count = 0;
    std::uint64_t scratch_count = 0;
    std::uint64_t stage_count = 0;
    bool meets_first = false;
    bool runs_ahead = false;
    /// Do all ranks use as much of their stages, whatever each has to give? Then these may lie
    /// closer together, where it is little.
    bool stages_alike = false;
    std::vector<Step> steps;

    bool operator==(const Schedule&) const = default;
};

}  // namespace pycoll
