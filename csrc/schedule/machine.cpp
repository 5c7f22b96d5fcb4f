#include "schedule/machine.hpp"

#include <algorithm>
#include <stdexcept>

namespace pycoll {
namespace {

std::size_t index_of(int rank) { return static_cast<std::size_t>(rank); }

/// Walks the elements of several lists of runs in step, a stretch at a time over which none of
/// them changes its run.
class WalkInStep {
public:
    explicit WalkInStep(std::span<const std::vector<Run>> lists)
        : lists_(lists), at_(lists.size()) {
        if (std::ranges::none_of(lists, &std::vector<Run>::empty)) {
            for (const auto& list : lists) current_.push_back(list.front());
            measure();
        }
    }

    [[nodiscard]] bool done() const { return count_ == 0; }
    [[nodiscard]] std::uint64_t count() const { return count_; }
    [[nodiscard]] const Run& operator[](std::size_t list) const { return current_[list]; }

    void next() {
        for (std::size_t k = 0; k < lists_.size(); ++k) {
            current_[k] = current_[k].after(count_);
            if (current_[k].count == 0 && ++at_[k] < lists_[k].size()) {
                current_[k] = lists_[k][at_[k]];
            }
        }
        measure();
    }

private:
    void measure() {
        count_ = current_[0].count;
        for (const Run& run : current_) count_ = std::min(count_, run.count);
    }

    std::span<const std::vector<Run>> lists_;
    std::vector<std::size_t> at_;
    std::vector<Run> current_;
    std::uint64_t count_ = 0;
};

}  // namespace

Machine::Machine(std::span<const Request> requests, std::span<const Schedule> schedules,
                 std::span<const Placement> places)
    : requests_(requests),
      schedules_(schedules),
      places_(places),
      expressions_(static_cast<int>(schedules.size())) {
    for (std::size_t r = 0; r < schedules.size(); ++r) {
        const auto& sizes = places[r].sizes;
        memory_.push_back({Values(sizes[0]), Values(sizes[1]), Values(sizes[2]), Values(sizes[3])});
        blocks_.push_back(requests[r].blocks());
        const Slice& input = places[r].input;
        const Run contribution{input.count, expressions_.leaf(static_cast<int>(r)), 0};
        memory(static_cast<int>(r), input.buffer).write(input.offset, {&contribution, 1});
    }
}

const Step& Machine::step_of(StepId id) const {
    return schedules_[index_of(id.rank)].steps[id.step];
}

Values& Machine::memory(int rank, Buffer buffer) {
    return memory_[index_of(rank)][static_cast<std::size_t>(buffer)];
}

void Machine::read(int rank, const Slice& slice, std::vector<Run>& runs) {
    runs.clear();
    const int owner = slice.owner == Slice::own ? rank : slice.owner;
    const Slice real = places_[index_of(owner)].real(slice);
    memory(owner, real.buffer).read(real.offset, real.count, runs);
}

void Machine::write(int rank, const Slice& slice, std::span<const Run> runs) {
    const int owner = slice.owner == Slice::own ? rank : slice.owner;
    const Slice real = places_[index_of(owner)].real(slice);
    memory(owner, real.buffer).write(real.offset, runs);
}

Machine::Failure Machine::run(StepId event, const Messages& messages) {
    const Step& step = step_of(event);
    const auto operand = [this](std::size_t k) -> std::vector<Run>& {
        if (operands_.size() <= k) operands_.resize(k + 1);
        return operands_[k];
    };
    switch (step.kind) {
        case StepKind::copy:
            return copy(event, step.srcs[0], event, step.dst);
        case StepKind::reduce:
            for (std::size_t k = 0; k < step.srcs.size(); ++k) {
                read(event.rank, step.srcs[k], operand(k));
            }
            return fold(event, step.srcs.size());
        case StepKind::send: {
            const StepId receiver = messages.partner(event);
            const Step& recv = step_of(receiver);
            if (recv.kind == StepKind::recv) return copy(event, step.srcs[0], receiver, recv.dst);
            read(event.rank, step.srcs[0], operand(recv.message_first ? 0 : 1));
            read(receiver.rank, recv.srcs[0], operand(recv.message_first ? 1 : 0));
            return fold(receiver, 2);
        }
        case StepKind::signal:
        case StepKind::wait:
        case StepKind::expect:
            return std::nullopt;
        case StepKind::recv:
        case StepKind::recv_reduce:
            break;
    }
    throw std::logic_error("a receive is not an event");
}

Machine::Failure Machine::copy(StepId reader, const Slice& from, StepId writer, const Slice& to) {
    read(reader.rank, from, runs_);
    // The messages of a barrier carry no data, only the fact that they came.
    if (schedules_[index_of(reader.rank)].collective != Collective::barrier &&
        std::ranges::find(runs_, Expressions::undefined, &Run::expression) != runs_.end()) {
        return name_of(reader, step_of(reader)) + ": reads memory that nobody has written";
    }
    write(writer.rank, to, runs_);
    return std::nullopt;
}

Machine::Failure Machine::fold(StepId id, std::size_t operands) {
    const Step& step = step_of(id);
    const auto fail = [&](const char* what) { return name_of(id, step) + ": " + what; };
    std::vector<Expressions::Id> folded(operands);
    runs_.clear();
    const std::span<const std::vector<Run>> sources(operands_.data(), operands);
    for (WalkInStep walk(sources); !walk.done(); walk.next()) {
        for (std::size_t k = 0; k < operands; ++k) {
            folded[k] = walk[k].expression;
            if (folded[k] == Expressions::undefined) {
                return fail("reads memory that nobody has written");
            }
            if (walk[k].index != walk[0].index) return fail("folds different elements into one");
            if (expressions_.finished(folded[k])) return fail("folds after the last fold");
            for (std::size_t l = 0; l < k; ++l) {
                if (expressions_.overlap(folded[k], folded[l])) {
                    return fail("counts a rank's contribution twice");
                }
            }
        }
        const Expressions::Id result = expressions_.fold(folded, step.finish);
        if (step.finish && !expressions_.complete(result)) {
            return fail("marked as the last fold, but contributions are missing");
        }
        runs_.push_back({walk.count(), result, walk[0].index});
    }
    write(id.rank, step.dst, runs_);
    return std::nullopt;
}

Machine::Failure Machine::check_output() {
    for (int rank = 0; rank < static_cast<int>(schedules_.size()); ++rank) {
        if (auto failure = check_rank(rank)) {
            return "rank " + std::to_string(rank) + " output element " + *failure;
        }
    }
    return std::nullopt;
}

Machine::Failure Machine::check_rank(int rank) {
    const Request& request = requests_[index_of(rank)];
    operands_.resize(2);
    read(rank, places_[index_of(rank)].output, operands_[0]);
    std::uint64_t i = 0;
    for (const Run& run : operands_[0]) {
        if (run.expression == Expressions::undefined) return std::to_string(i) + ": never written";
        i += run.count;
    }
    return reduces(request.collective) ? check_folded(request) : check_moved(request);
}

Machine::Failure Machine::check_moved(const Request& request) {
    operands_[1] = promised(request);
    std::uint64_t i = 0;
    for (WalkInStep walk(operands_); !walk.done(); i += walk.count(), walk.next()) {
        if (walk[0].expression != walk[1].expression || walk[0].index != walk[1].index) {
            return std::to_string(i) + ": holds another element than element " +
                   std::to_string(walk[1].index) + " of rank " +
                   std::to_string(walk[1].expression - expressions_.leaf(0));
        }
    }
    return std::nullopt;
}

Machine::Failure Machine::check_folded(const Request& request) {
    const std::uint64_t first = request.collective == Collective::reduce_scatter
                                    ? blocks_[index_of(request.rank)].offset(request.rank)
                                    : 0;
    std::uint64_t i = 0;
    for (const Run& run : operands_[0]) {
        if (run.index != first + i)
            return std::to_string(i) + ": holds the result of another element";
        if (!expressions_.complete(run.expression)) {
            return std::to_string(i) + ": some rank's contribution is missing";
        }
        if (schedules_.size() > 1 && !expressions_.finished(run.expression)) {
            return std::to_string(i) + ": no fold is marked as the last";
        }
        i += run.count;
    }
    if (request.collective != Collective::all_reduce) return std::nullopt;
    if (request.rank == 0) agreed_ = operands_[0];
    operands_[1] = agreed_;
    i = 0;
    for (WalkInStep walk(operands_); !walk.done(); i += walk.count(), walk.next()) {
        if (walk[0].expression != walk[1].expression) {
            return std::to_string(i) + ": folded in another order than on rank 0";
        }
    }
    return std::nullopt;
}

std::vector<Run> Machine::promised(const Request& request) const {
    const int rank = request.rank;
    std::vector<Run> runs;
    const auto add = [&](int from, std::uint64_t index, std::uint64_t count) {
        if (count > 0) runs.push_back({count, expressions_.leaf(from), index});
    };
    switch (request.collective) {
        case Collective::broadcast:
            add(request.root, 0, request.count);
            break;
        case Collective::scatter:
            add(request.root, blocks_[index_of(rank)].offset(rank),
                blocks_[index_of(rank)].count(rank));
            break;
        case Collective::all_gather:
        case Collective::gather:
            if (request.output_count() == 0) break;
            for (int from = 0; from < request.size; ++from) {
                add(from, 0, blocks_[index_of(rank)].count(from));
            }
            break;
        case Collective::all_to_all: {
            const Blocks received = request.recv_blocks();
            for (int from = 0; from < request.size; ++from) {
                add(from, blocks_[index_of(from)].offset(rank), received.count(from));
            }
            break;
        }
        case Collective::all_reduce:
        case Collective::reduce:
        case Collective::reduce_scatter:
        case Collective::barrier:
            break;
    }
    return runs;
}

}  // namespace pycoll
