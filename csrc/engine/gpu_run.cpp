#include "engine/gpu_run.hpp"

#include <algorithm>

namespace pycoll {

GpuRun::GpuRun(std::shared_ptr<GpuSide> side, std::span<const cuda::Stream> after)
    : side_(std::move(side)),
      is_direct_(side_->takes_gpu_memory()),
      memory_(side_->memory()),
      pinned_(side_->pinned()) {
    const cuda::Gpu::Current current(side_->gpu());
    lane_ = side_->take_lane();
    lane_->follow(after);
}

GpuRun::~GpuRun() {
    let_go();
    if (lane_ == nullptr) return;
    try {
        const cuda::Gpu::Current current(side_->gpu());
        // Else it waits for what is on its queues, and is gone.
        if (lane_->is_ready() && operations_.empty()) {
            side_->give_back(std::move(lane_));
        } else {
            lane_.reset();
        }
    } catch (const cuda::CudaError&) {
        // The context has ended, and with it all that is in it.
        lane_.reset();
    }
}

bool GpuRun::is_ready() {
    const cuda::Gpu::Current current(side_->gpu());
    return lane_->is_ready();
}

void GpuRun::reserve(const Plan& plan) {
    memory_.add(plan.scratch_bytes());
    for (const Plan::Channel& channel : plan.channels()) {
        std::size_t most = 0;
        bool folds = false;
        for (std::uint32_t i = channel.begin; i < channel.end; ++i) {
            const Plan::PlanStep& step = plan.steps()[plan.channel_steps()[i]];
            most = std::max(most, step.count * plan.element_size());
            folds |= step.kind == StepKind::recv_reduce;
        }
        const std::uint32_t at_once = std::min(channel.end - channel.begin, plan.window());
        for (std::uint32_t i = 0; i < at_once; ++i) {
            if (!is_direct_) pinned_.add(most);
            if (folds) memory_.add(most);
        }
    }
}

std::vector<GpuRun::Operation> GpuRun::take_ended() {
    std::vector<Operation> ended;
    if (!lane_->poll()) return ended;
    std::erase_if(operations_, [&](const Operation& operation) {
        if (!lane_->is_over(operation.ticket)) return false;
        ended.push_back(operation);
        return true;
    });
    return ended;
}

BufferPool::Block GpuRun::take(Blocks& blocks, std::uint32_t step) {
    const auto found = std::ranges::find(blocks, step, &Blocks::value_type::first);
    BufferPool::Block block = std::move(found->second);
    blocks.erase(found);
    return block;
}

std::byte* GpuRun::at(const Blocks& blocks, std::uint32_t step) const {
    return std::ranges::find(blocks, step, &Blocks::value_type::first)->second.data();
}

bool GpuRun::hold(cuda::Stream stream) {
    cuda::Gpu& gpu = side_->gpu();
    const cuda::Gpu::Current current(gpu);
    if (!gpu.may_wait(stream)) return false;
    if (!flag_) {
        flag_ = gpu.take_flag();
        flag_value_ = flag_->word->load(std::memory_order_relaxed) + 1;
    }
    return gpu.driver().wait_value(stream, flag_->address, flag_value_,
                                   cuda::wait_value_at_least) == cuda::success;
}

void GpuRun::let_go() {
    if (!flag_) return;
    flag_->word->store(flag_value_, std::memory_order_release);
    side_->gpu().give_back(*flag_);
    flag_.reset();
}

bool GpuRun::leave() noexcept {
    try {
        const cuda::Gpu::Current current(side_->gpu());
        if (!lane_->drain()) return false;
        lane_.reset();
        return true;
    } catch (const cuda::CudaError&) {
        return false;
    }
}

}  // namespace pycoll
