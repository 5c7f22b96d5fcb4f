// How an execution runs on a GPU.
//
// The host puts copies and folds on queues and goes on. A step that follows on a queue needs those
// before it to be on queues, too, and is put behind them; a message to be posted, a signal to a
// peer need the host to have seen their end. Where messages must lie in memory of the host, each is
// brought there, or fetched from there, by a queue: then it follows on queues like everything else.

#include <array>
#include <utility>

#include "engine/execution.hpp"

namespace pycoll {

void Execution::started(std::uint32_t index, GpuRun::Use use, const cuda::Ticket& ticket) {
    gpu_->started({index, use, ticket});
    const Plan::PlanStep& step = plan_->steps()[index];
    for (std::uint32_t i = step.successors; i < step.successors_end; ++i) {
        const std::uint32_t next = plan_->successors()[i];
        if (!gpu_->is_queued(plan_->steps()[next].kind)) continue;
        gpu_->after(next).add(ticket);
        release(next);
    }
}

void Execution::ended(std::uint32_t index) {
    const Plan::PlanStep& step = plan_->steps()[index];
    --remaining_;
    for (std::uint32_t i = step.successors; i < step.successors_end; ++i) {
        const std::uint32_t next = plan_->successors()[i];
        if (!gpu_->is_queued(plan_->steps()[next].kind)) release(next);
    }
}

void Execution::queue_local(std::uint32_t index) {
    const Plan::PlanStep& step = plan_->steps()[index];
    const cuda::After& after = gpu_->after(index);
    if (step.kind == StepKind::copy) {
        return started(index, GpuRun::Use::step,
                       gpu_->lane().copy(cuda::Queue::compute, at(step.dst),
                                         at(plan_->places()[step.srcs]), bytes(step), after));
    }
    sources_.clear();
    for (std::uint32_t i = step.srcs; i < step.srcs_end; ++i) {
        sources_.push_back(at(plan_->places()[i]));
    }
    started(index, GpuRun::Use::step,
            gpu_->lane().fold(operands_.dtype, operands_.op, at(step.dst), sources_, step.count,
                              static_cast<std::size_t>(plan_->size()), step.finish, after));
}

void Execution::post_on_gpu(std::uint32_t index) {
    const Plan::PlanStep& step = plan_->steps()[index];
    const std::size_t length = bytes(step);
    const Token token{this, index};
    if (step.kind == StepKind::send) {
        const std::byte* const src = at(plan_->places()[step.srcs]);
        if (!gpu_->is_direct()) {
            BufferPool::Block block = gpu_->pinned().take(length);
            const cuda::Ticket ticket = gpu_->lane().copy(cuda::Queue::download, block.data(), src,
                                                          length, gpu_->after(index));
            gpu_->keep(gpu_->on_host, index, std::move(block));
            return started(index, GpuRun::Use::outgoing, ticket);
        }
        means_->sent_bytes->fetch_add(length, std::memory_order_relaxed);
        ++messages_under_way_;
        return means_->transport->send(step.peer, tag_, {src, length}, token);
    }
    std::byte* into = at(step.dst);
    if (!gpu_->is_direct()) {
        gpu_->keep(gpu_->on_host, index, gpu_->pinned().take(length));
        into = gpu_->at(gpu_->on_host, index);
    } else if (step.kind == StepKind::recv_reduce) {
        gpu_->keep(gpu_->arrived, index, gpu_->memory().take(length));
        into = gpu_->at(gpu_->arrived, index);
    }
    ++messages_under_way_;
    means_->transport->recv(step.peer, tag_, {into, length}, token);
}

/// A message has been sent, or has arrived.
void Execution::take_message(std::uint32_t index) {
    const Plan::PlanStep& step = plan_->steps()[index];
    GpuSide& side = gpu_->side();
    const cuda::Gpu::Current current(side.gpu());
    cuda::Lane& lane = gpu_->lane();
    const bool is_direct = gpu_->is_direct();
    --messages_under_way_;
    if (step.kind == StepKind::send || (step.kind == StepKind::recv && is_direct)) {
        if (!is_direct) gpu_->pinned().give_back(gpu_->take(gpu_->on_host, index));
        --channels_[step.channel].under_way;
        if (is_direct) {
            finish_step(index);
        } else {
            ended(index);
        }
        advance(step.channel);
        return run_ready();
    }
    cuda::After after = gpu_->after(index);
    const std::size_t length = bytes(step);
    if (step.kind == StepKind::recv) {
        started(index, GpuRun::Use::message,
                lane.copy(cuda::Queue::upload, at(step.dst), gpu_->at(gpu_->on_host, index), length,
                          after));
        return run_ready();
    }
    if (!is_direct) {
        gpu_->keep(gpu_->arrived, index, gpu_->memory().take(length));
        after.add(lane.copy(cuda::Queue::upload, gpu_->at(gpu_->arrived, index),
                            gpu_->at(gpu_->on_host, index), length, {}));
    }
    std::array<const void*, 2> operands = {at(plan_->places()[step.srcs]),
                                           gpu_->at(gpu_->arrived, index)};
    if (step.message_first) std::swap(operands[0], operands[1]);
    started(index, GpuRun::Use::message,
            lane.fold(operands_.dtype, operands_.op, at(step.dst), operands, step.count,
                      static_cast<std::size_t>(plan_->size()), step.finish, after));
    run_ready();
}

bool Execution::poll_gpu() {
    GpuSide& side = gpu_->side();
    const cuda::Gpu::Current current(side.gpu());
    const std::vector<GpuRun::Operation> operations = gpu_->take_ended();
    for (const GpuRun::Operation& operation : operations) {
        const Plan::PlanStep& step = plan_->steps()[operation.step];
        switch (operation.use) {
            case GpuRun::Use::step:
                ended(operation.step);
                break;
            case GpuRun::Use::outgoing: {
                const std::size_t length = bytes(step);
                means_->sent_bytes->fetch_add(length, std::memory_order_relaxed);
                ++messages_under_way_;
                means_->transport->send(step.peer, tag_,
                                        {gpu_->at(gpu_->on_host, operation.step), length},
                                        {this, operation.step});
                break;
            }
            case GpuRun::Use::message:
                if (!gpu_->is_direct()) {
                    gpu_->pinned().give_back(gpu_->take(gpu_->on_host, operation.step));
                }
                if (step.kind == StepKind::recv_reduce) {
                    gpu_->memory().give_back(gpu_->take(gpu_->arrived, operation.step));
                }
                --channels_[step.channel].under_way;
                ended(operation.step);
                advance(step.channel);
                break;
        }
    }
    if (!operations.empty()) run_ready();
    return !operations.empty();
}

/// Gives back what no message under way needs. To the pools: freeing memory waits for all streams,
/// of which some may wait for operations that this thread has to move along.
void Execution::leave_gpu() noexcept {
    if (!gpu_->leave()) return;
    const bool is_direct = gpu_->is_direct();
    if (messages_under_way_ > 0) stages_.swap(is_direct ? gpu_->arrived : gpu_->on_host);
    for (auto& [step, block] : gpu_->on_host) gpu_->pinned().give_back(std::move(block));
    for (auto& [step, block] : gpu_->arrived) gpu_->memory().give_back(std::move(block));
    if (messages_under_way_ == 0 || !is_direct) gpu_->memory().give_back(std::move(scratch_));
    on_gpu_ = false;
    gpu_.reset();
}

}  // namespace pycoll
