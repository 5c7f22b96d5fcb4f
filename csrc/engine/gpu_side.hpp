#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "device/cuda/lane.hpp"
#include "engine/buffer_pool.hpp"
#include "engine/plan_cache.hpp"
#include "transport/cuda/node.hpp"

namespace pycoll {

/// A pool that any thread may use. Nobody waits for it while memory is got from the GPU.
class SharedPool {
public:
    explicit SharedPool(MemorySource& source) : source_(source), pool_(source, max_idle_bytes) {}

    [[nodiscard]] BufferPool::Block take(std::size_t bytes) {
        {
            const std::lock_guard lock(mutex_);
            if (auto block = pool_.take_idle(bytes); block.size() > 0) return block;
        }
        if (bytes == 0) return {};
        return {source_, BufferPool::block_size(bytes)};
    }
    void give_back(BufferPool::Block block) {
        const std::lock_guard lock(mutex_);
        pool_.give_back(std::move(block));
    }

private:
    /// All that was ever needed at once, until the communicator is closed: it costs milliseconds to
    /// get again, and getting it may wait for all streams of the GPU.
    static constexpr std::size_t max_idle_bytes = std::numeric_limits<std::size_t>::max();

    MemorySource& source_;
    std::mutex mutex_;
    BufferPool pool_;
};

/// What a communicator has on its GPU. To be used under the communicator's lock, but for the pools
/// and lanes.
class GpuSide {
public:
    /// `takes_gpu_memory`: may messages be sent from and received in the GPU's memory? Else they
    /// go through memory of the host.
    GpuSide(cuda::Gpu& gpu, bool takes_gpu_memory)
        : gpu_(gpu),
          takes_gpu_memory_(takes_gpu_memory),
          memory_(gpu.memory()),
          pinned_(gpu.pinned()) {}

    /// What all ranks have agreed on: what they see of each other, by what they choose, and whether
    /// all of them can have messages in the memory of their GPUs. `node` is null unless they see
    /// something.
    void introduce(Reach reach, PlanCache plans, bool takes_gpu_memory,
                   std::unique_ptr<GpuNode> node) {
        reach_ = reach;
        plans_ = std::make_unique<PlanCache>(std::move(plans));
        takes_gpu_memory_ = takes_gpu_memory;
        node_ = std::move(node);
    }
    [[nodiscard]] bool is_introduced() const { return plans_ != nullptr; }
    [[nodiscard]] Reach reach() const { return reach_; }
    [[nodiscard]] PlanCache& plans() { return *plans_; }
    /// Null where ranks see nothing of each other's GPUs.
    [[nodiscard]] GpuNode* node() const { return node_.get(); }

    [[nodiscard]] cuda::Gpu& gpu() const { return gpu_; }
    [[nodiscard]] bool takes_gpu_memory() const { return takes_gpu_memory_; }
    [[nodiscard]] SharedPool& memory() { return memory_; }
    [[nodiscard]] SharedPool& pinned() { return pinned_; }

    /// With the context current.
    [[nodiscard]] std::unique_ptr<cuda::Lane> take_lane() {
        const std::lock_guard lock(lanes_mutex_);
        if (lanes_.empty()) return std::make_unique<cuda::Lane>(gpu_);
        std::unique_ptr<cuda::Lane> lane = std::move(lanes_.back());
        lanes_.pop_back();
        return lane;
    }
    /// One that has nothing on its queues.
    void give_back(std::unique_ptr<cuda::Lane> lane) {
        const std::lock_guard lock(lanes_mutex_);
        if (lanes_.size() < most_idle_lanes) lanes_.push_back(std::move(lane));
    }

private:
    /// As many operations as programs have under way all the time.
    static constexpr std::size_t most_idle_lanes = 8;

    cuda::Gpu& gpu_;
    bool takes_gpu_memory_;
    SharedPool memory_;
    SharedPool pinned_;
    std::mutex lanes_mutex_;
    std::vector<std::unique_ptr<cuda::Lane>> lanes_;
    Reach reach_ = Reach::messages;
    std::unique_ptr<PlanCache> plans_;
    std::unique_ptr<GpuNode> node_;
};

}  // namespace pycoll
