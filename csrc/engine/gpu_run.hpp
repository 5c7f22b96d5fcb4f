#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "device/cuda/lane.hpp"
#include "engine/buffer_pool.hpp"
#include "engine/gpu_side.hpp"
#include "engine/plan.hpp"
#include "engine/reserve.hpp"
#include "schedule/schedule.hpp"

namespace pycoll {

/// What one operation has on a GPU: its queues, what is on them, and the memory that this needs.
class GpuRun {
public:
    /// Something on a queue that a step waits for.
    enum class Use : std::uint8_t {
        step,      ///< the step itself: a copy or a fold
        outgoing,  ///< the download of a message that is to be sent
        message,   ///< what was to be done with a message that has arrived
    };
    struct Operation {
        std::uint32_t step;
        Use use;
        cuda::Ticket ticket;
    };
    using Blocks = std::vector<std::pair<std::uint32_t, BufferPool::Block>>;

    /// For an operation that comes after what is on these streams by now. Throws CudaError.
    GpuRun(std::shared_ptr<GpuSide> side, std::span<const cuda::Stream> after);
    /// Do its messages lie in the GPU's memory? What ranks agree on later is for later operations.
    [[nodiscard]] bool is_direct() const { return is_direct_; }
    GpuRun(const GpuRun&) = delete;
    GpuRun& operator=(const GpuRun&) = delete;
    ~GpuRun();

    [[nodiscard]] GpuSide& side() const { return *side_; }
    [[nodiscard]] cuda::Lane& lane() const { return *lane_; }
    /// Have the streams come to where they were?
    [[nodiscard]] bool is_ready();

    /// Takes the memory that the plan needs. Throws CudaError when there is no more.
    void reserve(const Plan& plan);
    [[nodiscard]] Reserve& memory() { return memory_; }
    [[nodiscard]] Reserve& pinned() { return pinned_; }

    void begin(std::size_t steps) { after_.assign(steps, {}); }
    /// May a step be put on a queue as soon as those before it are on one? Else the host must see
    /// them end first.
    [[nodiscard]] bool is_queued(StepKind kind) const {
        if (synchronises(kind)) return false;
        return !is_message(kind) || !is_direct_;
    }
    /// What a step must come after on the queues.
    [[nodiscard]] cuda::After& after(std::uint32_t step) { return after_[step]; }

    void started(const Operation& operation) { operations_.push_back(operation); }
    /// Takes out those that have ended, in the order of their queue.
    [[nodiscard]] std::vector<Operation> take_ended();

    /// Where the messages of some steps lie on the host, and where those to be folded lie on the
    /// GPU.
    void keep(Blocks& blocks, std::uint32_t step, BufferPool::Block block) {
        blocks.emplace_back(step, std::move(block));
    }
    [[nodiscard]] BufferPool::Block take(Blocks& blocks, std::uint32_t step);
    [[nodiscard]] std::byte* at(const Blocks& blocks, std::uint32_t step) const;
    Blocks on_host;
    Blocks arrived;

    /// Has a stream wait until the operation is over. False if that would keep the GPU from getting
    /// there.
    [[nodiscard]] bool hold(cuda::Stream stream);
    /// Lets streams go on.
    void let_go();

    /// Waits until nothing is on the queues, which then are gone. False if CUDA has failed.
    bool leave() noexcept;

private:
    std::shared_ptr<GpuSide> side_;
    bool is_direct_;
    Reserve memory_;
    Reserve pinned_;
    std::unique_ptr<cuda::Lane> lane_;
    std::vector<cuda::After> after_;
    std::vector<Operation> operations_;
    std::optional<cuda::Flag> flag_;
    std::uint32_t flag_value_ = 0;
};

}  // namespace pycoll
