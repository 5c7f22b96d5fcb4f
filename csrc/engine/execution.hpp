#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "core/dtype.hpp"
#include "core/reduction.hpp"
#include "engine/buffer_pool.hpp"
#include "engine/clock.hpp"
#include "engine/gpu_run.hpp"
#include "engine/neighbours.hpp"
#include "engine/plan.hpp"
#include "transport/transport.hpp"

namespace pycoll {

/// Why an operation ended without a result.
struct Failure {
    enum class Kind : std::uint8_t { failed, timed_out, cuda };
    Kind kind = Kind::failed;
    std::string why;
};
[[nodiscard]] Failure failure_of(const std::exception& error);

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

    /// For another run.
    void renew() {
        done_.store(false, std::memory_order_relaxed);
        released_.store(false, std::memory_order_relaxed);
    }
    /// What others know of it by. `keep_alive` is what holds the operands' memory.
    void prepare(const Label& label, Clock::time_point deadline, std::shared_ptr<void> keep_alive);

    /// What it runs on. Both this and what it names must outlive it.
    struct Means {
        Transport* transport = nullptr;
        BufferPool* pool = nullptr;
        /// Null where no ranks share a node.
        Neighbours* neighbours = nullptr;
        /// Counts the bytes of the messages that are sent.
        std::atomic<std::uint64_t>* sent_bytes = nullptr;
    };
    /// What the ranks of the node have to do with each other before the plan.
    enum class Entry : std::uint8_t {
        none,    ///< nothing, or they have met
        along,   ///< the first wait for each peer sees whether it has made the same call
        ahead,   ///< as above, without waiting for the signals that it only expects
        before,  ///< as `along`, and that is all: the plan ends with entered()
    };

    /// Of a run that sends no messages.
    void set_operands(const Operands& operands) { operands_ = operands; }
    /// `gpu`: for operands on one; else null.
    void set_operands(const Operands& operands, int tag, std::unique_ptr<GpuRun> gpu = nullptr) {
        operands_ = operands;
        tag_ = tag;
        gpu_ = std::move(gpu);
    }
    /// Is what it has to come after over? Its GPU may have to get there first.
    [[nodiscard]] bool is_ready() { return gpu_ == nullptr || gpu_->is_ready(); }
    /// Takes a plan ahead of begin(). To count a reference waits until all that was written is out
    /// of this core: best before anything that others have to give up first.
    void adopt(const std::shared_ptr<const Plan>& plan) {
        if (plan_ != plan) plan_ = plan;
    }
    /// Posts and runs what waits for nothing. Throws CollectiveError when a peer has made another
    /// call.
    void begin(const std::shared_ptr<const Plan>& plan, Means&& means, Entry entry) = delete;
    void begin(const std::shared_ptr<const Plan>& plan, const Means& means, Entry entry) {
        begin(plan, means, entry, operands_.input, operands_.output);
    }
    /// Before the call's own plan: shows some words to all ranks, by a plan that all have made for
    /// as many of them, and ends with entered().
    void show(const std::shared_ptr<const Plan>& plan, const Means& means,
              std::span<const std::uint64_t> words);
    /// What all ranks have shown, one after the other. Only after entered().
    [[nodiscard]] std::span<const std::uint64_t> shown() const { return shown_; }
    /// Those from which messages have yet to come.
    [[nodiscard]] std::vector<int> silent_peers() const;

    /// A message has completed: runs and posts what waited for it.
    void message_done(std::uint32_t step);

    /// Does it run on a GPU by now?
    [[nodiscard]] bool is_on_gpu() const { return on_gpu_; }
    /// Has it, a single message, been given to the transport?
    [[nodiscard]] bool is_posted() const { return !on_gpu_ || messages_under_way_ > 0; }
    /// Looks what the GPU has done, and runs and posts what waited for it. True if anything moved.
    /// Throws CudaError.
    bool poll_gpu();
    /// Has a stream wait for the end, which has not come yet. False if the host must.
    [[nodiscard]] bool hold(cuda::Stream stream) { return gpu_ == nullptr || gpu_->hold(stream); }
    /// Lets streams go on that wait for it.
    void let_go() {
        if (gpu_ != nullptr) gpu_->let_go();
    }

    /// Looks whether the peer has come that it waits for, if so, and runs what waited for it. True
    /// if anything moved. Throws CollectiveError when a peer has made another call.
    bool poll_signals();

    [[nodiscard]] bool awaits_signal() const { return open_wait_.has_value(); }
    /// Those whose signals it waits for one after the other, from here on, and that have not come
    /// yet, by their numbers on the node.
    [[nodiscard]] std::vector<int> missing_signals() const;
    /// Do all wait for all, this one for one such rank only, and does that seem to be running? Who
    /// waits for one rank by plan, as in a ring, waits for what that has yet to get from others,
    /// which may need this rank's core (all-reduce of 96 KiB by staged_ring, 4 ranks on 2 cores: 17
    /// us, and 30 where they spin).
    [[nodiscard]] bool awaits_running_peer() const;

    /// Has the plan before the call's own come to its end?
    [[nodiscard]] bool entered() const { return entered_; }
    [[nodiscard]] bool is_one_sided() const { return plan_->is_one_sided(); }
    /// Does it run without waiting for all ranks of the node?
    [[nodiscard]] bool runs_ahead() const { return entry_ == Entry::ahead; }

    /// Ends it without a result. Its memory, and what keeps its operands alive, must outlive the
    /// messages under way.
    void fail(Failure failure);
    /// Ends it when what comes before a plan of its own was all there is to it.
    void complete() {
        entered_ = false;
        finish();
    }

    [[nodiscard]] bool done() const { return done_.load(std::memory_order_acquire); }

    /// Throws TimeoutError or CollectiveError if it failed. Only after done().
    void check() const;

    /// Lets go of what keeps the operands alive. Only after check(), by any threads.
    void release();

    /// Is there anything that keeps the operands alive?
    [[nodiscard]] bool keeps_arrays() const { return keeps_arrays_; }

    [[nodiscard]] const Label& label() const { return label_; }
    /// Bytes of `label().count` elements.
    [[nodiscard]] std::uint64_t operand_bytes() const {
        return label_.count * size_of(operands_.dtype);
    }
    /// When the communicator gives up on it.
    [[nodiscard]] Clock::time_point deadline() const { return deadline_; }
    /// "all_reduce (call 17: 1000 x float32)", "recv from rank 2 with tag 5 (4000 bytes)".
    [[nodiscard]] std::string describe() const;
    /// What is under way: "a message from rank 2, rank 3 to receive 2 messages", "rank 1".
    [[nodiscard]] std::string waits_for() const;

private:
    struct ChannelState {
        std::uint32_t next;
        std::uint32_t under_way;
    };

    [[nodiscard]] std::byte* at(const Plan::Place& place) const {
        return memory_[place.base] + place.offset;
    }
    [[nodiscard]] std::size_t bytes(const Plan::PlanStep& step) const {
        return step.count * plan_->element_size();
    }
    void begin(const std::shared_ptr<const Plan>& plan, const Means& means, Entry entry,
               const void* input, void* output);
    void advance(std::uint32_t channel);
    void post(std::uint32_t step);
    void begin_steps();
    void take_scratch();
    void give_scratch_back();
    void look_around();
    void look_around_gpus();
    template <typename Attach>
    void look_at_arrays(Attach&& attach);
    // Of arrays of peers that this process does not see: see transport/shared/cma.hpp.
    [[nodiscard]] bool is_across(const Plan::Place& place) const {
        return any_across_ && processes_[place.base] != 0;
    }
    void copy_across(const Plan::PlanStep& step);
    /// As fold().
    void fold_across(const Plan::PlanStep& step, std::uint32_t copies);
    void read_across(const Plan::Place& from, void* into, std::size_t bytes);
    void write_across(const Plan::Place& into, const void* from, std::size_t bytes);
    /// At least so much memory of this rank, for what the kernel has copied, or is to copy.
    [[nodiscard]] std::byte* landing(std::size_t bytes);
    /// After a wait of a plan that is no sequence.
    void go_on_after(std::uint32_t step);
    void run_local(const Plan::PlanStep& step);
    /// Of what a step has read in the stage of a peer, where this rank alone reads it.
    void take_lines_over(const Plan::PlanStep& step);
    /// With so many copies of the result that follow the step.
    void fold(const Plan::PlanStep& step, std::uint32_t copies);
    /// Waits, unless the peer has come already.
    void start_wait(std::uint32_t step);
    void take_signal(int peer);
    template <typename GoOn>
    void each_missing(GoOn&& go_on) const;
    [[nodiscard]] bool waits_for_all(std::uint32_t step) const;
    void fold_message(std::uint32_t step);
    void finish_step(std::uint32_t step);
    void release(std::uint32_t step);
    void run_ready();
    /// Of a plan that is a sequence: runs the next steps, up to one that has to wait.
    void run_sequence();
    std::uint32_t signal_together(const Plan::PlanStep& step);
    void end();
    void finish();

    // On a GPU.
    void leave_gpu() noexcept;
    void queue_local(std::uint32_t step);
    void post_on_gpu(std::uint32_t step);
    void take_message(std::uint32_t step);
    /// What a step has on a queue; steps that follow on a queue may be put there.
    void started(std::uint32_t step, GpuRun::Use use, const cuda::Ticket& ticket);
    /// The host has seen a step's end.
    void ended(std::uint32_t step);

    Label label_;
    Clock::time_point deadline_;
    std::shared_ptr<void> keep_alive_;
    bool keeps_arrays_ = false;

    std::shared_ptr<const Plan> plan_;
    Operands operands_;
    int tag_ = 0;
    const Means* means_ = nullptr;
    Entry entry_ = Entry::none;
    bool entered_ = false;
    /// Messages under way write here: it must live as long as they do.
    std::vector<std::uint64_t> shown_;
    /// By Plan::base().
    std::vector<std::byte*> memory_;
    /// The processes whose addresses those are, for arrays that this one does not see; else 0.
    std::vector<pid_t> processes_;
    bool any_across_ = false;
    BufferPool::Block landing_;
    /// The last copy that has read across, and where it left that.
    const Plan::PlanStep* last_read_ = nullptr;
    const std::byte* read_to_ = nullptr;
    BufferPool::Block scratch_;
    /// Per step: predecessors that are not complete.
    std::vector<std::uint32_t> pending_;
    std::vector<ChannelState> channels_;
    /// Where the messages to be folded arrive, by step.
    std::vector<std::pair<std::uint32_t, BufferPool::Block>> stages_;
    std::vector<std::uint32_t> ready_;
    /// Does it run step by step, and which is the next one?
    bool in_sequence_ = false;
    std::uint32_t next_ = 0;
    /// The wait that is under way: there is one at most, as the one-sided steps form a sequence.
    std::optional<std::uint32_t> open_wait_;
    std::unique_ptr<GpuRun> gpu_;
    bool on_gpu_ = false;
    /// On a GPU: messages that the transport has yet to complete.
    std::size_t messages_under_way_ = 0;
    std::vector<const void*> sources_;
    std::vector<void*> destinations_;
    std::size_t remaining_ = 0;

    Failure failure_;
    std::atomic<bool> done_ = false;
    std::atomic<bool> released_ = false;
};

}  // namespace pycoll
