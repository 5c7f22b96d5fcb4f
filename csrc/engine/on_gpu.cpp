// What a communicator does for operations on a GPU.
//
// Before its first collective call on GPUs, ranks get introduced: they show each other where their
// stages lie, try to map those of their node, and show whether they could. So all know alike what
// they may choose from. It is a call of its own, with the signature of the one that it goes before:
// who calls something else is found out by it.

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/communicator.hpp"
#include "engine/gpu_costs.hpp"

namespace pycoll {
namespace {

/// What a rank shows of its GPU.
struct Offer {
    bool takes_gpu_memory = false;
    bool shares = false;
    SharedNode::Place stage = {};

    static constexpr std::size_t words = 2 + SharedNode::place_words;
    [[nodiscard]] std::array<std::uint64_t, words> shown() const {
        return {takes_gpu_memory ? 1U : 0U, shares ? 1U : 0U, stage.key,
                stage.segment_bytes,        stage.offset,     stage.gpu_offset};
    }
    static Offer from(std::span<const std::uint64_t> shown) {
        return {shown[0] != 0, shown[1] != 0, {shown[2], shown[3], shown[4], shown[5]}};
    }
};

}  // namespace

std::optional<int> Communicator::gpu() {
    const Lock lock(mutex_);
    if (gpu_ == nullptr) return std::nullopt;
    return gpu_->gpu().ordinal();
}

void Communicator::use_gpu(int ordinal) {
    if (gpu_ == nullptr) {
        gpu_ = std::make_shared<GpuSide>(cuda::Gpu::at(ordinal), transport_->takes_gpu_memory());
    }
    if (gpu_->gpu().ordinal() == ordinal) return;
    throw std::invalid_argument("the arrays lie on GPU " + std::to_string(ordinal) +
                                ", but this communicator was used with GPU " +
                                std::to_string(gpu_->gpu().ordinal()) +
                                " before; make one for each GPU");
}

/// What an operation needs on its GPU, by whichever of some plans. Gets it without the lock, as
/// that may wait for streams that wait for operations of this communicator.
std::unique_ptr<GpuRun> Communicator::prepare_gpu(
    const OnGpu& where, std::initializer_list<std::shared_ptr<const Plan>> plans, Lock& lock) {
    const std::shared_ptr<GpuSide> side = gpu_;
    lock.unlock();
    auto run = std::make_unique<GpuRun>(side, where.after);
    const Plan* reserved = nullptr;
    for (const auto& plan : plans) {
        if (plan.get() != reserved) run->reserve(*plan);
        reserved = plan.get();
    }
    lock.lock();
    return run;
}

/// Without the lock: to get memory may wait for streams that wait for operations of this
/// communicator.
void Communicator::offer_gpu(Lock& lock) {
    if (!neighbours_ || !options_.shares_gpus) return;
    const std::shared_ptr<Neighbours> neighbours = neighbours_;
    cuda::Gpu& gpu = gpu_->gpu();
    lock.unlock();
    std::unique_ptr<GpuNode> offered;
    try {
        offered = std::make_unique<GpuNode>(neighbours->node(), gpu);
    } catch (const cuda::CudaError&) {
        // A rank that cannot have a stage takes part without.
        offered = nullptr;
    }
    lock.lock();
    offered_ = std::move(offered);
}

void Communicator::introduce_gpu(Entry& entry) {
    Offer offer{.takes_gpu_memory = gpu_->takes_gpu_memory()};
    if (offered_ != nullptr) {
        offer.shares = true;
        offer.stage = offered_->own_stage();
    }
    entry.stage = Entry::Stage::introducing;
    show(entry, offer.shown());
}

void Communicator::look_at_gpus(Entry& entry) {
    const auto shown = entry.execution->shown();
    bool all_take_gpu_memory = true;
    bool sees_all = offered_ != nullptr;
    for (int rank = 0; rank < size_; ++rank) {
        const Offer offer =
            Offer::from(shown.subspan(static_cast<std::size_t>(rank) * Offer::words, Offer::words));
        all_take_gpu_memory &= offer.takes_gpu_memory;
        const int local = neighbours_ ? neighbours_->local(rank) : -1;
        if (rank == rank_ || local < 0) continue;
        sees_all = sees_all && offer.shares && offered_->map_stage(local, offer.stage);
    }
    entry.stage = Entry::Stage::confirming;
    show(entry, std::array<std::uint64_t, 2>{sees_all ? 1U : 0U, all_take_gpu_memory ? 1U : 0U});
}

void Communicator::agree_on_gpus(Entry& entry) {
    const auto shown = entry.execution->shown();
    bool all_see_all = true;
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(size_); ++rank) {
        all_see_all &= shown[2 * rank] != 0;
    }
    // Everybody has come to the same.
    const bool takes_gpu_memory = shown[1] != 0;
    const Reach reached = all_see_all ? reach() : Reach::messages;
    if (reached == Reach::messages) offered_.reset();
    gpu_->introduce(reached,
                    PlanCache(gpu_model(options_.model, takes_gpu_memory), options_.wishes),
                    takes_gpu_memory, std::move(offered_));
    entry.stage = Entry::Stage::running;
    entry.execution->complete();
}

bool Communicator::start_messages(const Execution*& culprit) {
    bool started = false;
    std::vector<std::pair<StepKind, int>> held_up;
    for (auto it = messages_.begin(); it != messages_.end();) {
        const std::pair channel{it->kind, it->peer};
        if (std::ranges::find(held_up, channel) != held_up.end()) {
            ++it;
            continue;
        }
        culprit = it->execution.get();
        if (it->plan != nullptr && it->execution->is_ready()) {
            // Begun, whatever comes of it.
            const auto plan = std::exchange(it->plan, nullptr);
            it->execution->begin(plan, means_, Execution::Entry::none);
            started = true;
        }
        if (it->plan == nullptr && it->execution->is_posted()) {
            it = messages_.erase(it);
        } else {
            held_up.push_back(channel);
            ++it;
        }
    }
    return started;
}

bool Communicator::poll_gpu(const Execution*& culprit) {
    bool moved = false;
    for (const auto& execution : active_) {
        if (!execution->is_on_gpu()) continue;
        culprit = execution.get();
        moved |= execution->poll_gpu();
    }
    return moved;
}

void Communicator::order(Execution& execution, cuda::Stream stream) {
    {
        const Lock lock(mutex_);
        if (!execution.done() && any_thread_ && execution.hold(stream)) return;
    }
    wait(execution, std::nullopt);
}

}  // namespace pycoll
