// How a schedule of some of the ranks becomes part of a larger one.

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "schedule/builder.hpp"

namespace pycoll {

class ScheduleBuilder::Inclusion {
public:
    Inclusion(ScheduleBuilder& builder, const Schedule& schedule, const Part& part)
        : builder_(builder), part_(part) {
        scratch_ = builder.scratch(schedule.scratch_count);
        const Slice stage{Buffer::stage, builder.schedule_.stage_count, schedule.stage_count};
        builder.use_stage(stage.end());
        stage_ = stage;
        if (part.after_one_sided && builder.last_one_sided_ != -1) {
            const auto last = static_cast<std::uint32_t>(builder.last_one_sided_);
            first_ = {last, last + 1};
        }
    }

    void append(const Step& step) {
        const Steps here{next(), next()};
        after_ = {first_};
        for (const std::uint32_t before : step.after) after_.push_back(appended_[before]);
        std::vector<Operand> operands;
        for (const Slice& src : step.srcs) operands.push_back(place(src));
        if (writes(step.kind)) operands.push_back(place(step.dst));
        if (synchronises(step.kind)) {
            emit(step, {});
        } else if (!is_message(step.kind)) {
            by_pieces(step, operands);
        } else if (std::ranges::all_of(
                       operands, [](const Operand& operand) { return operand.size() == 1; })) {
            emit(step, operands);
        } else {
            by_way_of_scratch(step, std::move(operands));
        }
        appended_.push_back({here.begin, next()});
    }

private:
    /// The pieces of a slice.
    using Operand = std::vector<Slice>;

    [[nodiscard]] std::uint32_t next() const {
        return static_cast<std::uint32_t>(builder_.schedule_.steps.size());
    }
    [[nodiscard]] int rank_here(int rank) const {
        return part_.ranks[static_cast<std::size_t>(rank)];
    }

    [[nodiscard]] Operand place(const Slice& slice) const {
        const std::array<const View*, buffer_count> where = {&part_.input, &part_.output, &scratch_,
                                                             &stage_};
        Operand pieces =
            where[static_cast<std::size_t>(slice.buffer)]->part(slice.offset, slice.count);
        for (Slice& piece : pieces) {
            if (slice.owner != Slice::own) piece.owner = rank_here(slice.owner);
            piece = builder_.resolve(piece);
        }
        return pieces;
    }

    /// A step whose operands, those it reads first, are in one piece each.
    void emit(const Step& step, const std::vector<Operand>& operands) {
        Step piece = step;
        if (step.peer >= 0) piece.peer = rank_here(step.peer);
        piece.finish = step.finish && part_.finishes;
        piece.after.clear();
        for (std::size_t i = 0; i < piece.srcs.size(); ++i) piece.srcs[i] = operands[i].front();
        if (writes(piece.kind)) piece.dst = operands.back().front();
        if (piece.kind == StepKind::copy && piece.dst == piece.srcs[0]) return;
        builder_.append_piece(std::move(piece), after_);
    }

    /// A copy or a fold, cut where one of its operands is.
    void by_pieces(const Step& step, std::vector<Operand> operands) {
        std::vector<std::size_t> at(operands.size(), 0);
        while (at.back() < operands.back().size()) {
            std::uint64_t length = operands.back()[at.back()].count;
            for (std::size_t i = 0; i < operands.size(); ++i) {
                length = std::min(length, operands[i][at[i]].count);
            }
            std::vector<Operand> now;
            for (std::size_t i = 0; i < operands.size(); ++i) {
                Slice& rest = operands[i][at[i]];
                now.push_back({rest.part(0, length)});
                rest = rest.part(length, rest.count - length);
                if (rest.empty()) ++at[i];
            }
            emit(step, now);
        }
    }

    /// A message, packed before it leaves or unpacked after it has come: its other end has other
    /// pieces, or none.
    void by_way_of_scratch(const Step& step, std::vector<Operand> operands) {
        const std::uint64_t count =
            step.kind == StepKind::send ? step.srcs[0].count : step.dst.count;
        const Operand pack = {builder_.scratch(count)};
        if (step.kind == StepKind::send) {
            by_pieces({.kind = StepKind::copy, .dst = {}, .srcs = step.srcs, .after = {}},
                      {std::move(operands[0]), pack});
            emit(step, {pack});
            return;
        }
        Step message = step;
        message.kind = StepKind::recv;
        message.finish = message.message_first = false;
        message.srcs.clear();
        emit(message, {pack});
        Step local{.kind = StepKind::copy, .dst = {}, .srcs = {Slice{}}, .after = {}};
        if (step.kind == StepKind::recv_reduce) {
            local.kind = StepKind::reduce;
            local.finish = step.finish;
            local.srcs.emplace_back();
        }
        operands.insert(operands.begin() + (operands.size() > 1 && !step.message_first ? 1 : 0),
                        pack);
        by_pieces(local, std::move(operands));
    }

    ScheduleBuilder& builder_;
    const Part& part_;
    View scratch_;
    View stage_;
    /// What all steps wait for.
    Steps first_;
    /// What the step that is being appended waits for.
    std::vector<Steps> after_;
    /// What each step has become.
    std::vector<Steps> appended_;
};

ScheduleBuilder::Steps ScheduleBuilder::include(const Schedule& schedule, const Part& part) {
    const auto first = static_cast<std::uint32_t>(schedule_.steps.size());
    Inclusion inclusion(*this, schedule, part);
    for (const Step& step : schedule.steps) inclusion.append(step);
    return {first, static_cast<std::uint32_t>(schedule_.steps.size())};
}

}  // namespace pycoll
