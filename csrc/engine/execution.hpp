#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/dtype.hpp"
#include "core/reduction.hpp"
#include "engine/buffer_pool.hpp"
#include "engine/plan.hpp"
#include "transport/transport.hpp"

namespace pycoll {

using Clock = std::chrono::steady_clock;

/// Why an operation ended without a result.
struct Failure {
    bool timed_out = false;
    std::string why;
};

/// One run of a plan. Without the communicator's lock, only done(), check(), release() and what
/// does not change from begin() on (label(), operand_bytes()) may be used.
class Execution {
public:
    struct Operands {
        const void* input = nullptr;
        void* output = nullptr;
        DType dtype = DType::u8;
        ReduceOp op = ReduceOp::sum;
    };
    /// What it is, for people.
    struct Label {
        std::string_view what;       ///< the collective, "send" or "recv"
        std::uint64_t count = 0;     ///< elements, as the caller gave them
        std::uint64_t sequence = 0;  ///< number of the collective; 0 for point-to-point
        int tag = 0;                 ///< the caller's, for point-to-point
    };

    Execution() = default;
    Execution(const Execution&) = delete;
    Execution& operator=(const Execution&) = delete;

    /// To be called before begin(). `keep_alive` is what holds the operands' memory.
    void prepare(const Label& label, Clock::time_point deadline, std::shared_ptr<void> keep_alive);

    /// Posts and runs what waits for nothing. `transport` and `pool` must outlive the execution.
    void begin(std::shared_ptr<const Plan> plan, const Operands& operands, int tag,
               Transport& transport, BufferPool& pool);

    /// A message has completed: runs and posts what waited for it.
    void message_done(std::uint32_t step);

    /// Ends it without a result. Its memory, and what keeps its operands alive, must outlive the
    /// messages under way.
    void fail(Failure failure);

    [[nodiscard]] bool done() const { return done_.load(std::memory_order_acquire); }

    /// Throws TimeoutError or CollectiveError if it failed. Only after done().
    void check() const;

    /// Lets go of what keeps the operands alive. Only after check(), by any threads.
    void release();

    [[nodiscard]] const Label& label() const { return label_; }
    /// Bytes of `label().count` elements.
    [[nodiscard]] std::uint64_t operand_bytes() const {
        return label_.count * size_of(operands_.dtype);
    }
    /// When the communicator gives up on it.
    [[nodiscard]] Clock::time_point deadline() const { return deadline_; }
    /// "all_reduce (call 17: 1000 x float32)", "recv from rank 2 with tag 5 (4000 bytes)".
    [[nodiscard]] std::string describe() const;
    /// The messages under way: "a message from rank 2, rank 3 to receive 2 messages".
    [[nodiscard]] std::string waits_for() const;

private:
    /// Messages under way per channel. More hide latency; each received fold needs a stage.
    static constexpr std::uint32_t window = 4;

    struct ChannelState {
        std::uint32_t next;
        std::uint32_t under_way;
    };

    [[nodiscard]] std::byte* at(const Plan::Place& place) const {
        return buffers_[static_cast<std::size_t>(place.buffer)] + place.offset;
    }
    [[nodiscard]] std::size_t bytes(const Plan::PlanStep& step) const {
        return step.count * plan_->element_size();
    }
    void advance(std::uint32_t channel);
    void post(std::uint32_t step);
    void run_local(const Plan::PlanStep& step);
    void fold_message(std::uint32_t step);
    void finish_step(std::uint32_t step);
    void run_ready();
    void end();

    Label label_;
    Clock::time_point deadline_;
    std::shared_ptr<void> keep_alive_;

    std::shared_ptr<const Plan> plan_;
    std::array<std::byte*, 3> buffers_{};
    Operands operands_;
    int tag_ = 0;
    Transport* transport_ = nullptr;
    BufferPool* pool_ = nullptr;
    BufferPool::Block scratch_;
    /// Per step: predecessors that are not complete.
    std::vector<std::uint32_t> pending_;
    std::vector<ChannelState> channels_;
    /// Where the messages to be folded arrive, by step.
    std::vector<std::pair<std::uint32_t, BufferPool::Block>> stages_;
    std::vector<std::uint32_t> ready_;
    std::vector<const void*> sources_;
    std::size_t remaining_ = 0;

    Failure failure_;
    std::atomic<bool> done_ = false;
    std::atomic<bool> released_ = false;
};

}  // namespace pycoll
