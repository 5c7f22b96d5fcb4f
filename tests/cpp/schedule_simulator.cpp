#include "schedule_simulator.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "schedule_places.hpp"

namespace pycoll::test {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }
std::size_t at(Buffer buffer) { return static_cast<std::size_t>(buffer); }

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
    // The finaliser of splitmix64.
    std::uint64_t x = a * 0x9e3779b97f4a7c15U + b + 1;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

Element contribution(int rank, std::uint64_t index) {
    return {.made_of = mixed(0, static_cast<std::uint64_t>(rank)),
            .times = std::uint64_t{1} << (8 * rank),
            .index = index};
}

}  // namespace

Simulator::Simulator(const std::vector<Request>& requests, const std::vector<Schedule>& schedules,
                     const Timing& timing)
    : requests_(requests), schedules_(schedules), timing_(timing), random_(timing.seed) {
    for (std::size_t r = 0; r < schedules.size(); ++r) {
        const Request& request = requests[r];
        auto& memory = memory_.emplace_back();
        memory[at(Buffer::input)].resize(request.input_count());
        memory[at(Buffer::output)].resize(request.output_count());
        memory[at(Buffer::scratch)].resize(schedules[r].scratch_count);
        memory[at(Buffer::stage)].resize(schedules[r].stage_count);
        entered_.push_back(schedules[r].meets_first);
        const Slice input = input_place(request);
        for (std::uint64_t i = 0; i < input.count; ++i) {
            memory[at(input.buffer)][input.offset + i] = contribution(request.rank, i);
        }
        first_.push_back(static_cast<int>(tasks_.size()));
        for (const Step& step : schedules[r].steps) {
            tasks_.push_back({.rank = request.rank,
                              .step = &step,
                              .eager = random_() % 100 < timing.eager,
                              .taken = {}});
        }
    }
}

Simulator::Failure Simulator::match() {
    const int ranks = static_cast<int>(schedules_.size());
    for (int from = 0; from < ranks; ++from) {
        for (int to = 0; to < ranks; ++to) {
            for (const bool messages : {true, false}) {
                if (auto failure = match(from, to, messages)) return failure;
            }
        }
    }
    return std::nullopt;
}

Simulator::Failure Simulator::match(int from, int to, bool messages) {
    std::vector<int> outs;
    std::vector<int> ins;
    for (int t = 0; t < static_cast<int>(tasks_.size()); ++t) {
        const auto& [rank, step] = std::tie(tasks_[at(t)].rank, *tasks_[at(t)].step);
        const bool gives = step.kind == (messages ? StepKind::send : StepKind::signal);
        const bool takes = messages ? receives(step.kind) : takes_signal(step.kind);
        if (gives && rank == from && step.peer == to) outs.push_back(t);
        if (takes && rank == to && step.peer == from) ins.push_back(t);
    }
    if (outs.size() != ins.size()) return messages ? "messages do not match" : "waits do not match";
    for (std::size_t k = 0; k < outs.size(); ++k) {
        Task& out = tasks_[at(outs[k])];
        Task& in = tasks_[at(ins[k])];
        out.partner = ins[k];
        in.partner = outs[k];
        if (!messages) continue;
        if (out.step->srcs[0].count != in.step->dst.count) return "lengths differ";
        if (k > 0) out.previous = outs[k - 1];
        if (k > 0) in.previous = ins[k - 1];
    }
    return std::nullopt;
}

bool Simulator::may_start(const Task& task) const {
    const auto done = [&](std::uint32_t before) {
        return tasks_[at(first_[at(task.rank)]) + before].state == State::done;
    };
    if (!entered_[at(task.rank)] || !std::ranges::all_of(task.step->after, done)) return false;
    if (task.step->kind == StepKind::wait) return tasks_[at(task.partner)].state == State::done;
    if (!is_message(task.step->kind)) return true;
    // Messages of a channel are posted in order, a few at a time.
    if (task.previous >= 0 && tasks_[at(task.previous)].state == State::waiting) return false;
    int under_way = 0;
    for (int t = task.previous; t >= 0; t = tasks_[at(t)].previous) {
        if (tasks_[at(t)].state == State::posted) ++under_way;
    }
    return under_way < timing_.window;
}

/// Can the task take a step forward now?
bool Simulator::may_progress(const Task& task) const {
    if (task.state == State::waiting) return may_start(task);
    if (task.state == State::done) return false;
    const Task& partner = tasks_[at(task.partner)];
    if (task.step->kind == StepKind::send) return task.eager || partner.state == State::posted;
    return partner.state == State::done;
}

Simulator::Failure Simulator::progress(Task& task) {
    const Step& step = *task.step;
    if (task.state == State::waiting && is_message(step.kind)) {
        task.state = State::posted;
        return std::nullopt;
    }
    task.state = State::done;
    if (synchronises(step.kind)) return std::nullopt;
    if (trespasses(task)) return "touches an array that is not there";
    if (step.kind == StepKind::send) {
        task.taken = load(task.rank, step.srcs[0]);
        return std::nullopt;
    }
    if (step.kind == StepKind::copy) return store(task, load(task.rank, step.srcs[0]));
    std::vector<Elements> operands;
    for (const Slice& src : step.srcs) operands.push_back(load(task.rank, src));
    if (step.kind == StepKind::reduce) return fold(task, operands);
    const Elements& message = tasks_[at(task.partner)].taken;
    if (step.kind == StepKind::recv) return store(task, message);
    operands.insert(step.message_first ? operands.begin() : operands.end(), message);
    return fold(task, operands);
}

Simulator::Failure Simulator::exhaust(int absent) {
    std::vector<std::size_t> order(tasks_.size());
    std::iota(order.begin(), order.end(), 0);
    bool moved = true;
    while (moved) {
        // Some enter before, some after the others have done what they can.
        moved = random_() % 2 == 0 && admit(absent);
        std::ranges::shuffle(order, random_);
        for (const std::size_t t : order) {
            if (tasks_[t].rank == absent || !may_progress(tasks_[t])) continue;
            if (auto failure = progress(tasks_[t])) return failure;
            moved = true;
        }
        moved = moved || admit(absent);
    }
    return std::nullopt;
}

bool Simulator::admit(int absent) {
    std::vector<int> outside;
    for (int rank = 0; rank < static_cast<int>(entered_.size()); ++rank) {
        if (rank != absent && !entered_[at(rank)]) outside.push_back(rank);
    }
    if (outside.empty()) return false;
    entered_[at(outside[random_() % outside.size()])] = true;
    return true;
}

bool Simulator::has_left(int rank) const {
    return entered_[at(rank)] && std::ranges::none_of(tasks_, [&](const Task& task) {
               return task.rank == rank && task.state != State::done;
           });
}

bool Simulator::expects(int rank, int peer) const {
    // Who leaves a barrier has met all.
    return requests_[0].collective != Collective::barrier &&
           std::ranges::any_of(tasks_, [&](const Task& task) {
               return task.rank == rank && task.step->kind == StepKind::expect &&
                      task.step->peer == peer;
           });
}

bool Simulator::trespasses(const Task& task) const {
    const auto is_gone = [&](const Slice& slice) {
        if (slice.owner == Slice::own || slice.buffer == Buffer::stage) return false;
        return !entered_[at(slice.owner)] || has_left(slice.owner);
    };
    return is_gone(task.step->dst) || std::ranges::any_of(task.step->srcs, is_gone);
}

std::optional<std::string> Simulator::run() {
    if (auto failure = match()) return failure;
    if (auto failure = exhaust(-1)) return failure;
    const auto done = [](const Task& task) { return task.state == State::done; };
    if (!std::ranges::all_of(tasks_, done)) return "deadlock";
    return check_outputs();
}

int Simulator::finishes_without(int absent) {
    if (match() || exhaust(absent)) return -1;
    for (int rank = 0; rank < static_cast<int>(schedules_.size()); ++rank) {
        if (rank != absent && has_left(rank) && !expects(rank, absent)) return rank;
    }
    return -1;
}

Simulator::Elements Simulator::load(int rank, const Slice& slice) const {
    const Slice real = real_place(requests_, rank, slice);
    const Elements& buffer = memory_[at(real.owner)][at(real.buffer)];
    return {buffer.begin() + static_cast<std::ptrdiff_t>(real.offset),
            buffer.begin() + static_cast<std::ptrdiff_t>(real.end())};
}

Simulator::Failure Simulator::store(const Task& task, const Elements& elements) {
    const Slice dst = real_place(requests_, task.rank, task.step->dst);
    for (std::uint64_t i = 0; i < dst.count; ++i) {
        // What the messages of a barrier contain means nothing.
        if (elements[i].made_of == 0 && requests_[0].collective != Collective::barrier) {
            return "reads memory nobody has written";
        }
        memory_[at(dst.owner)][at(dst.buffer)][dst.offset + i] = elements[i];
    }
    return std::nullopt;
}

Simulator::Failure Simulator::fold(const Task& task, const std::vector<Elements>& operands) {
    Elements folded = operands[0];
    for (std::uint64_t i = 0; i < folded.size(); ++i) {
        Element& sum = folded[i];
        for (const Elements& operand : operands) {
            if (operand[i].made_of == 0) return "reads memory nobody has written";
            if (operand[i].finished) return "folds after the last fold";
            if (operand[i].index != sum.index) return "folds different elements into one";
        }
        for (std::size_t k = 1; k < operands.size(); ++k) {
            if ((sum.times & operands[k][i].times) != 0) return "counts a contribution twice";
            sum.times |= operands[k][i].times;
            sum.made_of = mixed(sum.made_of, operands[k][i].made_of);
        }
        // A step rounds once, however many operands it has.
        sum.made_of = mixed(sum.made_of, task.step->finish ? 2 : 1);
        sum.finished = task.step->finish;
        if (sum.finished && sum.times != everybody()) return "finished too early";
    }
    return store(task, folded);
}

std::uint64_t Simulator::everybody() const {
    std::uint64_t all = 0;
    for (const Request& request : requests_) all |= contribution(request.rank, 0).times;
    return all;
}

Simulator::Failure Simulator::check_outputs() const {
    for (const Request& request : requests_) {
        const Elements output = load(request.rank, output_place(request));
        for (std::uint64_t i = 0; i < output.size(); ++i) {
            if (!reduces(request.collective)) {
                if (output[i] != promised(request, i)) return "wrong element";
                continue;
            }
            const std::uint64_t index = request.collective == Collective::reduce_scatter
                                            ? request.blocks().offset(request.rank) + i
                                            : i;
            if (output[i].made_of == 0 || output[i].index != index) return "wrong element";
            if (output[i].times != everybody()) return "incomplete";
            if (output[i].finished != (requests_.size() > 1)) return "not finished";
            if (request.collective == Collective::all_reduce &&
                output[i] != load(0, output_place(requests_[0]))[i]) {
                return "ranks disagree";
            }
        }
    }
    return std::nullopt;
}

Element Simulator::promised(const Request& request, std::uint64_t i) const {
    const int rank = request.rank;
    switch (request.collective) {
        case Collective::broadcast:
            return contribution(request.root, i);
        case Collective::scatter:
            return contribution(request.root, request.blocks().offset(rank) + i);
        default:
            break;
    }
    const bool exchange = request.collective == Collective::all_to_all;
    const Blocks blocks = exchange ? request.recv_blocks() : request.blocks();
    int from = 0;
    while (blocks.offset(from) + blocks.count(from) <= i) ++from;
    const std::uint64_t within = i - blocks.offset(from);
    if (!exchange) return contribution(from, within);
    return contribution(from, requests_[at(from)].blocks().offset(rank) + within);
}

}  // namespace pycoll::test
