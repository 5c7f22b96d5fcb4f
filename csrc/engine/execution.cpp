#include "engine/execution.hpp"

#include <algorithm>
#include <bit>
#include <ranges>
#include <utility>

#include "device/host/caches.hpp"
#include "device/host/reduce.hpp"
#include "engine/errors.hpp"
#include "engine/signature.hpp"

namespace pycoll {

Failure failure_of(const std::exception& error) {
    const bool is_cuda = dynamic_cast<const cuda::CudaError*>(&error) != nullptr;
    return {is_cuda ? Failure::Kind::cuda : Failure::Kind::failed, error.what()};
}

void Execution::prepare(const Label& label, Clock::time_point deadline,
                        std::shared_ptr<void> keep_alive) {
    label_ = label;
    deadline_ = deadline;
    keep_alive_ = std::move(keep_alive);
    keeps_arrays_ = keep_alive_ != nullptr;
}

void Execution::show(const std::shared_ptr<const Plan>& plan, const Means& means,
                     std::span<const std::uint64_t> words) {
    shown_.resize(words.size() * static_cast<std::size_t>(plan->size()));
    std::uint64_t* const own =
        shown_.data() + words.size() * static_cast<std::size_t>(means.transport->rank());
    std::ranges::copy(words, own);
    begin(plan, means, Entry::before, own, shown_.data());
}

void Execution::begin(const std::shared_ptr<const Plan>& plan, const Means& means, Entry entry,
                      const void* input, void* output) {
    adopt(plan);
    means_ = &means;
    entry_ = entry;
    entered_ = false;
    any_across_ = false;
    last_read_ = nullptr;
    // What comes before the call's own plan lies in memory of the host.
    on_gpu_ = gpu_ != nullptr && entry != Entry::before;
    // For waits_for(), should anything below fail.
    channels_.clear();
    open_wait_.reset();
    in_sequence_ = plan_->is_sequence() && !on_gpu_;
    if (memory_.size() < plan_->bases()) memory_.resize(plan_->bases());
    // A schedule is verified never to write its input.
    memory_[Plan::base(Buffer::input)] = static_cast<std::byte*>(const_cast<void*>(input));
    memory_[Plan::base(Buffer::output)] = static_cast<std::byte*>(output);
    if (!in_sequence_) return begin_steps();
    if (plan_->scratch_bytes() > 0) take_scratch();
    if (plan_->is_one_sided()) look_around();
    next_ = 0;
    run_sequence();
}

/// The same of a plan of which several steps may be under way at a time.
void Execution::begin_steps() {
    remaining_ = plan_->steps().size();
    if (remaining_ == 0) return end();
    std::optional<cuda::Gpu::Current> current;
    if (on_gpu_) {
        current.emplace(gpu_->side().gpu());
        gpu_->begin(remaining_);
    }
    take_scratch();
    if (plan_->is_one_sided()) {
        if (on_gpu_) {
            look_around_gpus();
        } else {
            look_around();
        }
    }
    pending_ = plan_->pending();
    for (const Plan::Channel& channel : plan_->channels()) channels_.push_back({channel.begin, 0});

    for (std::uint32_t c = 0; c < channels_.size(); ++c) advance(c);
    ready_.assign(plan_->first_local().begin(), plan_->first_local().end());
    run_ready();
}

void Execution::take_scratch() {
    scratch_ = on_gpu_ ? gpu_->memory().take(plan_->scratch_bytes())
                       : means_->pool->take(plan_->scratch_bytes());
    memory_[Plan::base(Buffer::scratch)] = scratch_.data();
}

void Execution::give_scratch_back() {
    if (on_gpu_) {
        gpu_->memory().give_back(std::move(scratch_));
    } else {
        means_->pool->give_back(std::move(scratch_));
    }
}

/// Finds the memory of the ranks of the node.
void Execution::look_around() {
    SharedNode& node = means_->neighbours->node();
    const std::vector<int>& ranks = means_->neighbours->ranks();
    const SharedNode::Stages stages = plan_->stages(node);
    for (int local = 0; local < node.size(); ++local) {
        const int rank = ranks[static_cast<std::size_t>(local)];
        memory_[Plan::base(Buffer::stage, rank)] = stages.of(local);
    }
    memory_[Plan::base(Buffer::stage)] = stages.of(node.rank());
    if (!plan_->touches_arrays_of_peers()) return;
    processes_.assign(memory_.size(), 0);
    look_at_arrays([&](int local, const SharedNode::Place& place, std::uint32_t base) {
        if (!place.is_hidden()) return node.attach(local, place);
        processes_[base] = node.process(local);
        any_across_ = true;
        return std::bit_cast<std::byte*>(place.offset);
    });
}

void Execution::look_around_gpus() {
    const SharedNode& node = means_->neighbours->node();
    GpuNode& gpus = *gpu_->side().node();
    const std::vector<int>& ranks = means_->neighbours->ranks();
    for (int local = 0; local < node.size(); ++local) {
        const int rank = ranks[static_cast<std::size_t>(local)];
        memory_[Plan::base(Buffer::stage, rank)] = gpus.stage(local, plan_->area(true));
    }
    const int own = ranks[static_cast<std::size_t>(node.rank())];
    memory_[Plan::base(Buffer::stage)] = memory_[Plan::base(Buffer::stage, own)];
    if (!plan_->touches_arrays_of_peers()) return;
    look_at_arrays([&](int local, const SharedNode::Place& place, std::uint32_t /*base*/) {
        return gpus.attach(local, place);
    });
}

/// Finds the arrays of peers with `attach(local, place, base)`.
template <typename Attach>
void Execution::look_at_arrays(Attach&& attach) {
    const SharedNode& node = means_->neighbours->node();
    for (int local = 0; local < node.size(); ++local) {
        if (local == node.rank()) continue;
        const int rank = means_->neighbours->ranks()[static_cast<std::size_t>(local)];
        const SharedNode::Places places = node.places(local);
        const auto find = [&](Buffer buffer, const SharedNode::Place& place) {
            const std::uint32_t base = Plan::base(buffer, rank);
            memory_[base] = attach(local, place, base);
        };
        find(Buffer::input, places.input);
        find(Buffer::output, places.output);
    }
}

bool Execution::poll_signals() {
    if (!open_wait_) return false;
    const std::uint32_t step = *open_wait_;
    const int peer = plan_->steps()[step].peer;
    if (!means_->neighbours->node().has_signal(means_->neighbours->local(peer))) return false;
    open_wait_.reset();
    take_signal(peer);
    if (in_sequence_) {
        ++next_;
        run_sequence();
    } else {
        go_on_after(step);
    }
    return true;
}

void Execution::go_on_after(std::uint32_t step) {
    std::optional<cuda::Gpu::Current> current;
    if (on_gpu_) current.emplace(gpu_->side().gpu());
    finish_step(step);
    run_ready();
}

/// Calls `go_on` with each of missing_signals(), until it returns false.
template <typename GoOn>
void Execution::each_missing(GoOn&& go_on) const {
    if (!open_wait_) return;
    SharedNode& node = means_->neighbours->node();
    for (std::uint32_t step = *open_wait_; step < plan_->steps().size(); ++step) {
        const Plan::PlanStep& wait = plan_->steps()[step];
        if (!takes_signal(wait.kind)) return;
        const int peer = means_->neighbours->local(wait.peer);
        if (!node.has_signal(peer) && !go_on(peer)) return;
    }
}

std::vector<int> Execution::missing_signals() const {
    std::vector<int> missing;
    each_missing([&](int peer) {
        missing.push_back(peer);
        return true;
    });
    return missing;
}

bool Execution::awaits_running_peer() const {
    if (!open_wait_) return false;
    int missing = 0;
    int last = 0;
    each_missing([&](int peer) {
        last = peer;
        return ++missing == 1;
    });
    return missing == 1 && waits_for_all(*open_wait_) &&
           means_->neighbours->node().seems_to_run(last);
}

/// Is a wait one of a row of waits for all neighbours?
bool Execution::waits_for_all(std::uint32_t step) const {
    const auto is_wait = [](const Plan::PlanStep& any) { return takes_signal(any.kind); };
    const std::span steps(plan_->steps());
    const auto from_here = steps.subspan(step);
    const auto before = std::views::reverse(steps.first(step));
    const auto waits = (std::ranges::find_if_not(from_here, is_wait) - from_here.begin()) +
                       (std::ranges::find_if_not(before, is_wait) - before.begin());
    return waits >= means_->neighbours->node().size() - 1;
}

std::vector<int> Execution::silent_peers() const {
    std::vector<int> silent;
    for (std::size_t c = 0; c < channels_.size(); ++c) {
        const Plan::Channel& channel = plan_->channels()[c];
        const Plan::PlanStep& first = plan_->steps()[plan_->channel_steps()[channel.begin]];
        const bool is_over = channels_[c].under_way == 0 && channels_[c].next == channel.end;
        if (receives(first.kind) && !is_over) silent.push_back(first.peer);
    }
    return silent;
}

void Execution::start_wait(std::uint32_t step) {
    const int peer = plan_->steps()[step].peer;
    if (!means_->neighbours->node().has_signal(means_->neighbours->local(peer))) {
        open_wait_ = step;
        return;
    }
    take_signal(peer);
    finish_step(step);
}

void Execution::take_signal(int peer) {
    SharedNode& node = means_->neighbours->node();
    const int local = means_->neighbours->local(peer);
    node.take_signal(local);
    if (entry_ != Entry::none && !node.is_same_call(local)) {
        throw CollectiveError(find_difference(*means_->neighbours, local));
    }
}

void Execution::message_done(std::uint32_t step) {
    if (on_gpu_) return take_message(step);
    const Plan::PlanStep& message = plan_->steps()[step];
    if (message.kind == StepKind::recv_reduce) fold_message(step);
    --channels_[message.channel].under_way;
    finish_step(step);
    advance(message.channel);
    run_ready();
}

void Execution::fail(Failure failure) {
    failure_ = std::move(failure);
    if (gpu_ != nullptr) leave_gpu();
    done_.store(true, std::memory_order_release);
}

void Execution::check() const {
    if (failure_.why.empty()) return;
    switch (failure_.kind) {
        case Failure::Kind::timed_out:
            throw TimeoutError(failure_.why);
        case Failure::Kind::cuda:
            throw GpuError(failure_.why);
        case Failure::Kind::failed:
            break;
    }
    throw CollectiveError(failure_.why);
}

void Execution::finish() {
    on_gpu_ = false;
    if (gpu_ != nullptr) gpu_.reset();
    done_.store(true, std::memory_order_release);
}

void Execution::release() {
    if (!released_.exchange(true)) keep_alive_.reset();
}

/// Posts the next messages of a channel, in order, as far as dependencies and the window allow.
void Execution::advance(std::uint32_t channel) {
    ChannelState& state = channels_[channel];
    const std::uint32_t end = plan_->channels()[channel].end;
    while (state.next < end && state.under_way < plan_->window()) {
        const std::uint32_t step = plan_->channel_steps()[state.next];
        if (pending_[step] > 0) return;
        ++state.next;
        ++state.under_way;
        post(step);
    }
}

void Execution::post(std::uint32_t index) {
    if (on_gpu_) return post_on_gpu(index);
    const Plan::PlanStep& step = plan_->steps()[index];
    const Token token{this, index};
    switch (step.kind) {
        case StepKind::send:
            means_->sent_bytes->fetch_add(bytes(step), std::memory_order_relaxed);
            means_->transport->send(step.peer, tag_, {at(plan_->places()[step.srcs]), bytes(step)},
                                    token);
            break;
        case StepKind::recv:
            means_->transport->recv(step.peer, tag_, {at(step.dst), bytes(step)}, token);
            break;
        default: {
            auto& [owner, stage] = stages_.emplace_back(index, means_->pool->take(bytes(step)));
            means_->transport->recv(step.peer, tag_, {stage.data(), bytes(step)}, token);
        }
    }
}

void Execution::fold_message(std::uint32_t index) {
    const Plan::PlanStep& step = plan_->steps()[index];
    const auto stage = std::ranges::find(stages_, index, &decltype(stages_)::value_type::first);
    const void* left = at(plan_->places()[step.srcs]);
    const void* right = stage->second.data();
    if (step.message_first) std::swap(left, right);
    if (step.finish) {
        host::reduce_finish(operands_.dtype, operands_.op, at(step.dst), left, right, step.count,
                            static_cast<std::size_t>(plan_->size()));
    } else {
        host::reduce(operands_.dtype, operands_.op, at(step.dst), left, right, step.count);
    }
    means_->pool->give_back(std::move(stage->second));
    stages_.erase(stage);
}

void Execution::run_local(const Plan::PlanStep& step) {
    switch (step.kind) {
        case StepKind::copy:
            if (is_across(step.dst) || is_across(plan_->places()[step.srcs])) {
                return copy_across(step);
            }
            (step.leaves_caches ? host::copy_past_caches : host::copy)(
                at(step.dst), at(plan_->places()[step.srcs]), bytes(step));
            if (step.reads_alone) take_lines_over(step);
            break;
        case StepKind::signal:
            means_->neighbours->node().signal(means_->neighbours->local(step.peer));
            break;
        default:
            fold(step, 0);
    }
}

void Execution::fold(const Plan::PlanStep& step, std::uint32_t copies) {
    if (any_across_) return fold_across(step, copies);
    sources_.clear();
    for (std::uint32_t i = step.srcs; i < step.srcs_end; ++i) {
        sources_.push_back(at(plan_->places()[i]));
    }
    destinations_.clear();
    for (const Plan::PlanStep& to : std::span(&step, 1 + copies)) {
        destinations_.push_back(at(to.dst));
    }
    host::reduce_many(operands_.dtype, operands_.op, destinations_, sources_, step.count,
                      static_cast<std::size_t>(plan_->size()), step.finish);
    if (step.reads_alone) take_lines_over(step);
}

void Execution::take_lines_over(const Plan::PlanStep& step) {
    if (!host::owners_write_slowly()) return;
    for (std::uint32_t i = step.srcs; i < step.srcs_end; ++i) {
        const Plan::Place& src = plan_->places()[i];
        if (Plan::is_stage_of_peer(src)) host::take_lines_over(at(src), bytes(step));
    }
}

void Execution::finish_step(std::uint32_t index) {
    const Plan::PlanStep& step = plan_->steps()[index];
    --remaining_;
    for (std::uint32_t i = step.successors; i < step.successors_end; ++i) {
        release(plan_->successors()[i]);
    }
}

/// One of those that a step waits for is out of its way.
void Execution::release(std::uint32_t step) {
    if (--pending_[step] > 0) return;
    if (is_message(plan_->steps()[step].kind)) {
        advance(plan_->steps()[step].channel);
    } else {
        ready_.push_back(step);
    }
}

void Execution::run_ready() {
    while (!ready_.empty()) {
        const std::uint32_t step = ready_.back();
        ready_.pop_back();
        const StepKind kind = plan_->steps()[step].kind;
        // Peers go on while this rank works or waits.
        if (kind != StepKind::signal && plan_->is_one_sided()) {
            means_->neighbours->node().flush();
        }
        if (takes_signal(kind)) {
            start_wait(step);
        } else if (on_gpu_ && kind != StepKind::signal) {
            queue_local(step);
        } else {
            run_local(plan_->steps()[step]);
            finish_step(step);
        }
    }
    if (plan_->is_one_sided()) means_->neighbours->node().flush();
    if (on_gpu_) gpu_->lane().flush();
    if (remaining_ == 0) end();
}

/// Sends the signal, and those that follow it where all neighbours get one. Returns how many.
std::uint32_t Execution::signal_together(const Plan::PlanStep& step) {
    SharedNode& node = means_->neighbours->node();
    const auto peers = static_cast<std::uint32_t>(node.size() - 1);
    if (step.together < peers) {
        run_local(step);
        return 1;
    }
    node.signal_all();
    return peers;
}

void Execution::run_sequence() {
    const std::vector<Plan::PlanStep>& steps = plan_->steps();
    const bool is_one_sided = plan_->is_one_sided();
    for (; next_ < steps.size(); ++next_) {
        const Plan::PlanStep& step = steps[next_];
        if (step.kind == StepKind::signal) {
            next_ += signal_together(step) - 1;
            continue;
        }
        // Peers go on while this rank works or waits.
        if (is_one_sided) means_->neighbours->node().flush();
        if (step.kind == StepKind::reduce) {
            fold(step, step.copies);
            next_ += step.copies;
            continue;
        }
        if (!takes_signal(step.kind)) {
            run_local(step);
            continue;
        }
        if (step.kind == StepKind::expect && entry_ == Entry::ahead) {
            means_->neighbours->node().expect_signal(means_->neighbours->local(step.peer));
            continue;
        }
        if (!means_->neighbours->node().has_signal(means_->neighbours->local(step.peer))) {
            open_wait_ = next_;
            return;
        }
        take_signal(step.peer);
    }
    if (is_one_sided) means_->neighbours->node().flush();
    end();
}

void Execution::end() {
    if (scratch_.size() > 0) give_scratch_back();
    if (landing_.size() > 0) means_->pool->give_back(std::move(landing_));
    if (entry_ == Entry::before) {
        entered_ = true;
    } else {
        finish();
    }
}

std::string Execution::describe() const {
    std::string text(label_.what);
    if (label_.sequence == 0) {
        const Plan::PlanStep& message = plan_->steps()[0];
        return text + (message.kind == StepKind::send ? " to rank " : " from rank ") +
               std::to_string(message.peer) + " with tag " + std::to_string(label_.tag) + " (" +
               std::to_string(label_.count) + " bytes)";
    }
    text += " (call " + std::to_string(label_.sequence);
    // A barrier moves nothing.
    if (label_.count > 0) {
        text += ": " + std::to_string(label_.count) + " x " + std::string(name(operands_.dtype));
    }
    return text + ")";
}

std::string Execution::waits_for() const {
    constexpr int most = 3;
    std::string text;
    int listed = 0;
    for (const auto& [next, under_way] : channels_) {
        if (under_way == 0) continue;
        if (listed++ == most) return text + ", ...";
        const Plan::PlanStep& step = plan_->steps()[plan_->channel_steps()[next - 1]];
        const std::string peer = "rank " + std::to_string(step.peer);
        const std::string messages =
            under_way == 1 ? "a message" : std::to_string(under_way) + " messages";
        if (!text.empty()) text += ", ";
        text += step.kind == StepKind::send ? peer + " to receive " + messages
                                            : messages + " from " + peer;
    }
    if (open_wait_) {
        if (!text.empty()) text += ", ";
        text += "rank " + std::to_string(plan_->steps()[*open_wait_].peer);
    }
    if (!text.empty()) return text;
    return on_gpu_ ? "the GPU" : "nothing";
}

}  // namespace pycoll
