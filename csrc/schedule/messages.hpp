#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "schedule/schedule.hpp"

namespace pycoll {

/// Names one step of one rank.
struct StepId {
    int rank = -1;
    std::uint32_t step = 0;

    bool operator==(const StepId&) const = default;
};

/// For messages to people: "rank 2 step 5 (send to 3: input[0:8))".
[[nodiscard]] std::string name_of(StepId id, const Step& step);

/// Which receive each send meets, which message went before on the same channel, and which signal
/// each wait or expectation takes.
class Messages {
public:
    /// The k-th send from a to b meets the k-th receive at b from a; so do signals and what takes
    /// them.
    explicit Messages(std::span<const Schedule> schedules);

    /// Why the messages do not match, if they do not.
    [[nodiscard]] const std::optional<std::string>& mismatch() const { return mismatch_; }

    /// The other end of a message or a signal; rank -1 for local steps.
    [[nodiscard]] StepId partner(StepId id) const { return partners_[at(id.rank)][id.step]; }

    /// The next message on the channel of this send; rank -1 when it is the last.
    [[nodiscard]] StepId next_send(StepId id) const { return next_sends_[at(id.rank)][id.step]; }

private:
    static std::size_t at(int rank) { return static_cast<std::size_t>(rank); }
    void match(std::span<const Schedule> schedules, bool messages);

    std::vector<std::vector<StepId>> partners_;
    std::vector<std::vector<StepId>> next_sends_;
    std::optional<std::string> mismatch_;
};

}  // namespace pycoll
