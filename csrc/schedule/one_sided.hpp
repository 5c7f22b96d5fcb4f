#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "schedule/messages.hpp"
#include "schedule/placement.hpp"
#include "schedule/schedule.hpp"

namespace pycoll {

/// Finds accesses to memory that several ranks touch, at least one of them writing, which no chain
/// of dependencies, signals and waits orders.
///
/// The one-sided steps of a rank form a sequence. So all that precedes a step is known by one
/// number for each rank: how many steps of that rank's sequence do (a vector clock).
class OneSided {
public:
    /// All arguments must outlive this; the schedules must be well formed.
    OneSided(std::span<const Schedule> schedules, std::span<const Placement> places);

    /// Follows one event after all before it.
    void run(StepId event, const Messages& messages);

    /// Two accesses in no fixed order, an access to the buffers of a rank that may not have entered
    /// the call or may have left it, or a rank whose one-sided steps form no sequence. To be asked
    /// when all events have run.
    [[nodiscard]] std::optional<std::string> find_hazard() const;

private:
    struct Access {
        Slice slice;
        StepId step;
        bool writes;
    };

    [[nodiscard]] const Step& step_of(StepId id) const;
    /// clock(id)[r]: how many steps of r's sequence precede the step, itself included.
    [[nodiscard]] std::span<std::uint32_t> clock(StepId id) {
        const std::size_t ranks = schedules_.size();
        return std::span(clocks_[at(id.rank)]).subspan(id.step * ranks, ranks);
    }
    [[nodiscard]] std::span<const std::uint32_t> clock(StepId id) const {
        const std::size_t ranks = schedules_.size();
        return std::span(clocks_[at(id.rank)]).subspan(id.step * ranks, ranks);
    }
    void learn(StepId id);
    [[nodiscard]] bool precedes(StepId a, StepId b) const;
    [[nodiscard]] std::optional<std::string> find_unordered() const;
    [[nodiscard]] std::optional<std::string> find_trespass() const;
    [[nodiscard]] std::vector<Access> accesses() const;
    static std::size_t at(int rank) { return static_cast<std::size_t>(rank); }

    std::span<const Schedule> schedules_;
    std::span<const Placement> places_;
    /// Of each rank, those of all its steps, one after the other.
    std::vector<std::vector<std::uint32_t>> clocks_;
    /// until_[rank][step]: the first step of the rank's own sequence that the step precedes.
    std::vector<std::vector<std::uint32_t>> until_;
    std::optional<std::string> out_of_sequence_;
};

}  // namespace pycoll
