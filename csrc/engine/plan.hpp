#pragma once

#include <cstdint>
#include <vector>

#include "device/host/caches.hpp"
#include "schedule/schedule.hpp"
#include "transport/shared/node.hpp"

namespace pycoll {

/// A schedule made ready to run: byte offsets for one element size, successors instead of
/// predecessors, and the messages of each channel in order. Immutable; runs many times.
class Plan {
public:
    struct Place {
        /// Which memory: see base().
        std::uint32_t base;
        std::uint64_t offset;  // bytes

        bool operator==(const Place&) const = default;
    };
    struct PlanStep {
        StepKind kind;
        bool finish;
        bool message_first;
        /// A copy of which nobody reads the result soon, nor has read what it overwrites.
        bool leaves_caches;
        /// Reads what its writer alone has written, and this rank alone reads, in a peer's stage.
        bool reads_alone;
        int peer;
        /// Signals to different peers one after the other that begin here; 0 for those within.
        std::uint32_t together;
        /// Copies of a fold's result that follow it at once. In a sequence the fold may make them,
        /// element by element, while it has the result in registers.
        std::uint32_t copies;
        std::uint32_t channel;  // messages only
        std::uint64_t count;    // elements
        Place dst;
        std::uint32_t srcs, srcs_end;              // into places()
        std::uint32_t successors, successors_end;  // into successors()
    };
    /// The messages to or from one peer, in the order in which they must be posted.
    struct Channel {
        std::uint32_t begin, end;  // into channel_steps()
    };

    /// Messages under way per channel. More hide latency; each received fold needs memory.
    static constexpr std::uint32_t default_window = 4;

    /// Where all ranks together read and write fewer bytes than `cached` for what they copy to
    /// their outputs, that goes through the caches.
    Plan(const Schedule& schedule, std::size_t element_size, std::uint32_t window = default_window,
         double cached = static_cast<double>(host::most_cached()));

    /// The number of a buffer among all memory that a plan may name.
    [[nodiscard]] static std::uint32_t base(Buffer buffer, int owner = Slice::own) {
        return static_cast<std::uint32_t>(static_cast<std::size_t>(owner + 1) * buffer_count +
                                          static_cast<std::size_t>(buffer));
    }

    /// Whose memory that is, where it is not the rank's own.
    [[nodiscard]] static int owner(std::uint32_t base) {
        return static_cast<int>(base / buffer_count) - 1;
    }

    [[nodiscard]] static bool is_stage_of_peer(const Place& place) {
        constexpr auto stage = static_cast<std::uint32_t>(Buffer::stage);
        return place.base >= buffer_count && place.base % buffer_count == stage;
    }

    /// More than any base that it names.
    [[nodiscard]] std::size_t bases() const {
        return buffer_count * (is_one_sided_ ? 1 + static_cast<std::size_t>(size_) : 1);
    }

    [[nodiscard]] const std::vector<PlanStep>& steps() const { return steps_; }
    [[nodiscard]] const std::vector<Place>& places() const { return places_; }
    [[nodiscard]] const std::vector<std::uint32_t>& successors() const { return successors_; }
    [[nodiscard]] const std::vector<std::uint32_t>& pending() const { return pending_; }
    [[nodiscard]] const std::vector<Channel>& channels() const { return channels_; }
    [[nodiscard]] const std::vector<std::uint32_t>& channel_steps() const { return channel_steps_; }
    /// Local steps that wait for nothing.
    [[nodiscard]] const std::vector<std::uint32_t>& first_local() const { return first_local_; }
    [[nodiscard]] std::size_t element_size() const { return element_size_; }
    [[nodiscard]] std::uint64_t scratch_bytes() const { return scratch_bytes_; }
    [[nodiscard]] int size() const { return size_; }
    [[nodiscard]] std::uint32_t window() const { return window_; }
    /// Does it need the ranks of the node to see each other's memory?
    [[nodiscard]] bool is_one_sided() const { return is_one_sided_; }
    /// Has it no messages? Then its steps may run one after the other, each when the one before is
    /// complete.
    [[nodiscard]] bool is_sequence() const { return channels_.empty(); }
    /// Also that of the call's arrays?
    [[nodiscard]] bool touches_arrays_of_peers() const { return touches_arrays_of_peers_; }
    [[nodiscard]] bool meets_first() const { return meets_first_; }
    /// Where the ranks' stages lie in the call that this rank is in, on the host.
    [[nodiscard]] SharedNode::Stages stages(const SharedNode& node) const {
        return node.stages(area(false), stages_alike_ && stage_bytes_ <= SharedNode::short_bytes);
    }
    /// Which part of the stages it uses. All ranks agree on it. Nobody runs ahead on a GPU.
    [[nodiscard]] SharedNode::Area area(bool on_gpu) const {
        if (meets_first_) return SharedNode::Area::after_meeting;
        return runs_ahead_ && !on_gpu && stage_bytes_ <= SharedNode::ahead_bytes
                   ? SharedNode::Area::ahead
                   : SharedNode::Area::by_turns;
    }

private:
    void mark_copies_that_leave_caches(const Schedule& schedule, double cached);
    void mark_copies_of_folds(const Schedule& schedule);
    void mark_lone_readers(const Schedule& schedule);

    std::size_t element_size_;
    std::uint64_t scratch_bytes_;
    std::uint64_t stage_bytes_;
    int size_;
    std::uint32_t window_;
    bool meets_first_;
    bool runs_ahead_;
    bool stages_alike_;
    bool is_one_sided_ = false;
    bool touches_arrays_of_peers_ = false;
    std::vector<PlanStep> steps_;
    std::vector<Place> places_;
    std::vector<std::uint32_t> successors_;
    std::vector<std::uint32_t> pending_;
    std::vector<Channel> channels_;
    std::vector<std::uint32_t> channel_steps_;
    std::vector<std::uint32_t> first_local_;
};

}  // namespace pycoll
