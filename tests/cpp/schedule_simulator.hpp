#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "schedule/request.hpp"
#include "schedule/schedule.hpp"

namespace pycoll::test {

/// One element of a buffer, by what it was computed from.
struct Element {
    /// Equal exactly when computed alike: same contributions, same order, same rounding points. 0
    /// when nobody has written it.
    std::uint64_t made_of = 0;
    /// How often each rank contributed: one byte per rank.
    std::uint64_t times = 0;
    std::uint64_t index = 0;
    bool finished = false;

    bool operator==(const Element&) const = default;
};

/// Executes the schedules of up to 8 ranks on such elements, one by one, under a timing drawn at
/// random. Ranks enter the call one after the other, unless they meet first. Plain and slow, so
/// that it can be trusted; shares no code with the verifier. Steps run whole: it does not see what
/// goes wrong while two of them run at once.
class Simulator {
public:
    struct Timing {
        std::uint32_t seed = 0;
        /// Percentage of sends that complete before their receiver is there.
        std::uint32_t eager = 0;
        /// Messages under way at a time per peer and direction.
        int window = 1;
    };

    /// The schedules must be well formed and must outlive this.
    Simulator(const std::vector<Request>& requests, const std::vector<Schedule>& schedules,
              const Timing& timing);

    /// What went wrong, if something did: a deadlock, a read of memory nobody has written, a
    /// contribution counted twice, a peer's array that is not there, a wrong result, ...
    [[nodiscard]] std::optional<std::string> run();

    /// A rank other than `absent` that finishes although `absent` never starts, without expecting
    /// its signal; -1 if none does.
    [[nodiscard]] int finishes_without(int absent);

private:
    using Failure = std::optional<std::string>;
    using Elements = std::vector<Element>;

    enum class State : std::uint8_t { waiting, posted, done };

    /// A step of a rank, where it stands.
    struct Task {
        int rank;
        const Step* step;
        State state = State::waiting;
        bool eager = false;
        /// The message that goes before on its channel, and the other end of a message or signal;
        /// -1 if there is none.
        int previous = -1;
        int partner = -1;
        /// Sends: what has been read from the sender's memory.
        Elements taken;
    };

    [[nodiscard]] Failure match();
    /// The steps of rank `from` that tell `to` something, and those of `to` that listen.
    [[nodiscard]] Failure match(int from, int to, bool messages);
    [[nodiscard]] bool may_start(const Task& task) const;
    [[nodiscard]] bool may_progress(const Task& task) const;
    [[nodiscard]] Failure progress(Task& task);
    /// Makes whatever progress is possible, in random order.
    [[nodiscard]] Failure exhaust(int absent);
    /// Has some rank enter the call that has not yet.
    [[nodiscard]] bool admit(int absent);
    [[nodiscard]] bool has_left(int rank) const;
    [[nodiscard]] bool expects(int rank, int peer) const;
    /// Does the step touch the input or output of a peer that is not in the call?
    [[nodiscard]] bool trespasses(const Task& task) const;

    /// The elements of a slice that a step of `rank` names.
    [[nodiscard]] Elements load(int rank, const Slice& slice) const;
    [[nodiscard]] Failure store(const Task& task, const Elements& elements);
    [[nodiscard]] Failure fold(const Task& task, const std::vector<Elements>& operands);
    [[nodiscard]] Failure check_outputs() const;
    [[nodiscard]] Element promised(const Request& request, std::uint64_t i) const;
    [[nodiscard]] std::uint64_t everybody() const;

    const std::vector<Request>& requests_;
    const std::vector<Schedule>& schedules_;
    Timing timing_;
    std::mt19937 random_;
    std::vector<Task> tasks_;
    /// tasks_[first_[rank] + i] is step i of the rank.
    std::vector<int> first_;
    std::vector<std::array<Elements, buffer_count>> memory_;
    /// By rank: is it in the call, or has been?
    std::vector<bool> entered_;
};

}  // namespace pycoll::test
