#include "schedule/price.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <queue>
#include <stdexcept>
#include <tuple>

#include "schedule/crowding.hpp"
#include "schedule/frontier.hpp"
#include "schedule/messages.hpp"

namespace pycoll {
namespace {

std::size_t at(int rank) { return static_cast<std::size_t>(rank); }

/// Until when each rank's sending side, receiving side and core are taken.
struct Busy {
    double send = 0;
    double recv = 0;
    double core = 0;
    /// The ways of messages from and to a GPU.
    double download = 0;
    double upload = 0;
    /// The core itself, kept for the first of the ranks that share it.
    double shared_core = 0;
};

class Walk {
public:
    Walk(std::span<const Schedule> schedules, std::uint64_t element_size, const CostModel& model)
        : schedules_(schedules),
          messages_(schedules),
          element_size_(static_cast<double>(element_size)),
          model_(model),
          crowding_(schedules.size(), model),
          busy_(schedules.size()),
          last_fetched_(schedules.size()) {
        if (const auto& why = messages_.mismatch()) throw std::invalid_argument(*why);
        for (const Schedule& schedule : schedules) timeline.emplace_back(schedule.steps.size());
    }

    void run() {
        struct Ready {
            double time;
            StepId event;
            /// The earliest first; among equals a fixed order, so that all ranks price alike.
            bool operator<(const Ready& other) const {
                return std::tie(time, event.rank, event.step) >
                       std::tie(other.time, other.event.rank, other.event.step);
            }
        };
        Frontier frontier(schedules_, messages_);
        std::priority_queue<Ready> queue;
        for (const StepId event : frontier.start()) queue.push({0, event});
        std::vector<StepId> released;
        while (!queue.empty()) {
            const auto [time, event] = queue.top();
            queue.pop();
            // What has to wait for a rank's sending or receiving side must not hold up the other.
            if (const double start = start_of(event); start > time) {
                queue.push({start, event});
                continue;
            }
            run(event);
            released.clear();
            frontier.complete(event, released);
            for (const StepId next : released) queue.push({start_of(next), next});
        }
        if (frontier.remaining() > 0) throw std::invalid_argument("the schedules deadlock");
    }

    /// When a rank can begin: after those of its node have met, if they do.
    [[nodiscard]] double beginning(int rank) const {
        return schedules_[at(rank)].meets_first ? crowding_.waiting(rank) : 0;
    }

    std::vector<std::vector<Interval>> timeline;

private:
    [[nodiscard]] const Step& step_of(StepId id) const {
        return schedules_[at(id.rank)].steps[id.step];
    }
    Interval& when(StepId id) { return timeline[at(id.rank)][id.step]; }
    [[nodiscard]] double bytes(std::uint64_t count) const {
        return static_cast<double>(count) * element_size_;
    }

    [[nodiscard]] bool is_elsewhere(int rank, int other) const {
        return crowding_.first_on_core(rank) != crowding_.first_on_core(other);
    }
    /// Seconds until what a rank copies or folds is in its caches, as far as others had it: all
    /// memory of ranks on other cores, and its own stage where it puts something for them. What it
    /// copies to several places it fetches once. And those that the kernel takes, where it copies.
    [[nodiscard]] double fetching(int rank, const Step& step) {
        double count = 0;
        double crossing = 0;
        const auto add = [&](const Slice& slice, bool is_written) {
            const bool is_own = slice.owner == Slice::own || slice.owner == rank;
            const bool is_fetched =
                is_own ? is_written && slice.buffer == Buffer::stage && crowding_.has_cores(rank)
                       : is_elsewhere(rank, slice.owner);
            if (is_fetched) count += static_cast<double>(slice.count);
            if (!is_own && slice.buffer != Buffer::stage) crossing += by_kernel(step, slice);
        };
        if (step.srcs.size() > 1 || step.srcs[0] != last_fetched_[at(rank)]) {
            for (const Slice& source : step.srcs) add(source, false);
        }
        last_fetched_[at(rank)] = step.srcs[0];
        add(step.dst, true);
        return count * element_size_ * model_.fetch + crossing;
    }

    /// Seconds more for a slice of a peer's array.
    [[nodiscard]] double by_kernel(const Step& step, const Slice& slice) const {
        if (!model_.has_cma()) return 0;
        // What is folded is copied before, to where it is, and what has been from there.
        const double landed = step.kind == StepKind::reduce ? model_.copy : 0;
        return model_.cma.alpha + bytes(slice.count) * (model_.cma.beta + landed);
    }

    /// Until when a rank cannot do local work.
    [[nodiscard]] double core_taken(int rank) const {
        return std::max(busy_[at(rank)].core, busy_[at(crowding_.first_on_core(rank))].shared_core);
    }

    [[nodiscard]] Link link(int a, int b) const {
        if (!crowding_.share_node(a, b)) return model_.inter_node;
        Link link = model_.intra_node;
        // The MPI library copies it to memory that both see, and from there.
        if (is_elsewhere(a, b)) link.beta += 2 * model_.fetch;
        return link;
    }

    [[nodiscard]] double ready_at(StepId event) {
        double time = beginning(event.rank);
        const auto wait_for = [&](StepId id) {
            for (const std::uint32_t before : step_of(id).after) {
                time = std::max(time, when({id.rank, before}).end);
            }
        };
        wait_for(event);
        const StepId partner = messages_.partner(event);
        if (step_of(event).kind == StepKind::send) {
            wait_for(partner);
            time = std::max(time, beginning(partner.rank));
        }
        if (step_of(event).kind == StepKind::wait) {
            time = std::max(time, when(partner).end + crowding_.waiting(event.rank));
        }
        return time;
    }

    /// When an event can start, given what has run so far.
    [[nodiscard]] double start_of(StepId event) {
        const double ready = ready_at(event);
        if (synchronises(step_of(event).kind)) return ready;
        const StepId receiver = messages_.partner(event);
        if (receiver.rank < 0) return std::max(ready, core_taken(event.rank));
        return std::max({ready, busy_[at(event.rank)].send, busy_[at(receiver.rank)].recv});
    }

    /// Folds what has arrived.
    Interval fold_message(int rank, double from, double seconds) {
        double& core = busy_[at(rank)].core;
        const double start = std::max(from, core);
        core = start + seconds * crowding_.slowdown(rank);
        return {start, core};
    }

    /// Folds or copies what lies in memory.
    Interval work(int rank, double from, double seconds) {
        const double start = std::max(from, core_taken(rank));
        const double end = start + seconds;
        busy_[at(rank)].core = busy_[at(crowding_.first_on_core(rank))].shared_core = end;
        return {start, end};
    }

    void run(StepId event) {
        const Step& step = step_of(event);
        const double ready = ready_at(event);
        if (synchronises(step.kind)) {
            when(event) = {ready, ready};
            // Others may have written anew what lies there.
            if (takes_signal(step.kind)) last_fetched_[at(event.rank)] = {};
            return;
        }
        if (step.kind == StepKind::copy) {
            when(event) = work(
                event.rank, ready,
                model_.launch + bytes(step.dst.count) * model_.copy + fetching(event.rank, step));
            return;
        }
        if (step.kind == StepKind::reduce) {
            const double folded = bytes(step.dst.count) * static_cast<double>(step.srcs.size() - 1);
            when(event) = work(event.rank, ready,
                               model_.launch + folded * model_.gamma + fetching(event.rank, step));
            return;
        }
        const StepId receiver = messages_.partner(event);
        const Link wire = link(event.rank, receiver.rank);
        const double size = bytes(step.srcs[0].count);
        double& sending = busy_[at(event.rank)].send;
        double& receiving = busy_[at(receiver.rank)].recv;
        const double loaded = stage(busy_[at(event.rank)].download, ready, size);
        const double start = std::max({loaded, sending, receiving});
        const double turns =
            std::max(crowding_.slowdown(event.rank), crowding_.slowdown(receiver.rank));
        const double arrival = start + (wire.alpha + wire.beta * size) * turns;
        sending = receiving = arrival;
        when(event) = {start, arrival};
        const double unloaded = stage(busy_[at(receiver.rank)].upload, arrival, size);
        when(receiver) = {start, unloaded};
        if (step_of(receiver).kind == StepKind::recv_reduce) {
            when(receiver).end =
                fold_message(receiver.rank, unloaded, model_.launch + size * model_.gamma).end;
        }
    }

    /// Brings a message from a GPU or to one. Returns when it is there.
    [[nodiscard]] double stage(double& way, double from, double size) const {
        const double seconds = model_.staging.alpha + model_.staging.beta * size;
        if (seconds == 0) return from;
        way = std::max(way, from) + seconds;
        return way;
    }

    std::span<const Schedule> schedules_;
    const Messages messages_;
    const double element_size_;
    const CostModel& model_;
    const Crowding crowding_;
    std::vector<Busy> busy_;
    /// What each rank has copied last, since it last waited.
    std::vector<Slice> last_fetched_;
};

void count_traffic(const Schedule& schedule, std::uint64_t element_size, Price& price) {
    std::uint64_t messages = 0;
    std::uint64_t sent = 0;
    std::uint64_t folded = 0;
    for (const Step& step : schedule.steps) {
        if (step.kind == StepKind::send) {
            ++messages;
            sent += step.srcs[0].count * element_size;
        } else if (step.kind == StepKind::recv_reduce) {
            folded += step.dst.count * element_size;
        } else if (step.kind == StepKind::reduce) {
            folded += step.dst.count * element_size * (step.srcs.size() - 1);
        }
    }
    price.messages = std::max(price.messages, messages);
    price.bytes_sent = std::max(price.bytes_sent, sent);
    price.bytes_folded = std::max(price.bytes_folded, folded);
    price.total_bytes += sent;
}

}  // namespace

unsigned pipeline_depth(double bytes, const CostModel& model) {
    const auto seconds = [&](const Link& link) { return link.alpha + link.beta * bytes; };
    const bool has_nodes = !model.nodes.empty();
    const std::array<double, 4> ways = {seconds(model.staging),
                                        seconds(has_nodes ? model.inter_node : model.intra_node),
                                        seconds(model.staging), model.launch + model.gamma * bytes};
    const double longest = *std::ranges::max_element(ways);
    if (longest <= 0) return 1;
    // One more, as the host sees the end of each a little later.
    return 1 + static_cast<unsigned>(
                   std::ceil(std::accumulate(ways.begin(), ways.end(), 0.0) / longest));
}

double meeting_seconds(std::size_t ranks, const CostModel& model) {
    const Crowding crowding(ranks, model);
    double longest = 0;
    for (int rank = 0; rank < static_cast<int>(ranks); ++rank) {
        longest = std::max(longest, crowding.waiting(rank));
    }
    return longest;
}

Price price(std::span<const Schedule> schedules, std::uint64_t element_size,
            const CostModel& model) {
    Walk walk(schedules, element_size, model);
    walk.run();
    Price result;
    for (const Schedule& schedule : schedules) {
        count_traffic(schedule, element_size, result);
        result.seconds = std::max(result.seconds, walk.beginning(schedule.rank));
    }
    for (const auto& rank : walk.timeline) {
        for (const Interval& interval : rank)
            result.seconds = std::max(result.seconds, interval.end);
    }
    result.timeline = std::move(walk.timeline);
    return result;
}

}  // namespace pycoll
