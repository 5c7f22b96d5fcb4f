#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "schedule/placement.hpp"
#include "schedule/request.hpp"
#include "schedule/schedule.hpp"
#include "schedule/view.hpp"

namespace pycoll {

/// Writes down a schedule in program order, as if every step ran at once; dependencies follow by
/// themselves from which slices the steps read and write (read after write, write after read,
/// write after write). Independent steps, such as the chunks of a pipeline, therefore overlap
/// without the algorithm saying so.
///
/// Every step is cut into pieces of at most Request::chunk elements, which makes a pipeline of any
/// algorithm: a piece waits only for the pieces that touch its own elements.
///
/// One-sided steps (signals, waits, and whatever touches a stage or a peer's memory) keep the order
/// in which they were written down: what peers do at the same time is not known here.
///
/// Steps over empty slices vanish, as do copies of a slice onto itself (in place).
class ScheduleBuilder {
public:
    /// The steps that one call appended: several when cut, none when it vanished.
    struct Steps {
        std::uint32_t begin = 0;
        std::uint32_t end = 0;
    };

    explicit ScheduleBuilder(const Request& request);

    /// Reserves `count` elements of scratch.
    [[nodiscard]] Slice scratch(std::uint64_t count);
    /// Says that `count` elements of the stage are used.
    void use_stage(std::uint64_t count);
    /// The same, and that it is as many on all ranks.
    void use_stage_alike(std::uint64_t count);
    /// Has all ranks enter the call before any runs its first step.
    void meet_first();
    /// Lets ranks be several calls ahead of others: see Schedule.
    void run_ahead();

    /// `after` names steps to wait for although they touch other memory.
    Steps send(int peer, Slice src, std::span<const Steps> after = {});
    Steps recv(int peer, Slice dst, std::span<const Steps> after = {});

    enum class Fold : bool { partial, last };
    enum class Order : bool { local_first, message_first };
    /// dst = local (+) message.
    void recv_reduce(int peer, Slice dst, Slice local, Fold fold = Fold::partial,
                     Order order = Order::local_first);
    void copy(Slice dst, Slice src);
    /// dst = srcs[0] (+) srcs[1] (+) ...
    void reduce(Slice dst, std::span<const Slice> srcs, Fold fold = Fold::partial);

    /// `after` names steps that must be complete before the peer is told.
    void signal(int peer, std::span<const Steps> after = {});
    Steps wait(int peer);
    /// Takes a signal without waiting for it.
    void expect(int peer);
    /// Waits until all ranks are here: everybody signals everybody.
    void meet();

    /// How a schedule of some of the ranks becomes part of this one.
    struct Part {
        /// Its ranks, in its numbering.
        std::vector<int> ranks;
        /// What its input and output are here, maybe in pieces; they may have pieces in common,
        /// where it would copy an element onto itself. Its scratch and its stage are its own.
        View input;
        View output;
        /// Are its last folds the last of all?
        bool finishes = true;
        /// Must all one-sided steps so far be complete before it begins?
        bool after_one_sided = false;
    };
    /// Appends the steps of a schedule, in its order; what they do to elements that lie in several
    /// pieces, they do piece by piece, but messages stay whole, by way of scratch. That its ranks
    /// meet first is up to this one.
    Steps include(const Schedule& schedule, const Part& part);

    [[nodiscard]] Schedule build() &&;

private:
    /// Who last wrote a run of elements, and who has read it since.
    struct Access {
        std::uint64_t end;
        std::int64_t writer;
        std::vector<std::uint32_t> readers;
    };
    using Accesses = std::map<std::uint64_t, Access>;

    [[nodiscard]] Slice resolve(Slice slice) const;
    Steps append(const Step& step, std::span<const Steps> after = {});
    void append_piece(Step piece, std::span<const Steps> after);
    /// The steps of a schedule that is included, one by one.
    class Inclusion;
    Accesses::iterator cut(Accesses& accesses, std::uint64_t at);
    void read(const Slice& slice, std::uint32_t step, std::vector<std::uint32_t>& after);
    void write(const Slice& slice, std::uint32_t step, std::vector<std::uint32_t>& after);

    Schedule schedule_;
    std::uint64_t chunk_;
    Placement place_;
    std::array<Accesses, buffer_count> accesses_;
    /// The last one-sided step.
    std::int64_t last_one_sided_ = -1;
};

}  // namespace pycoll
