#include "engine/communicator.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/abandoned.hpp"
#include "engine/clock.hpp"
#include "engine/gpu_costs.hpp"
#include "engine/progress.hpp"

namespace pycoll {
namespace {

/// Half of the tags are for collectives, half for the user.
int collective_tags(const Transport& transport) {
    const int tags = transport.tag_count();
    if (tags < 2) {
        throw std::invalid_argument("a communicator needs two tags; the transport has " +
                                    std::to_string(tags));
    }
    return tags / 2;
}

/// Throws unless a rank shares memory with just those that `nodes` puts on its node.
void check_nodes(const std::vector<int>& nodes, int rank, int size, const Neighbours* neighbours) {
    if (nodes.empty()) return;
    const auto fail = [rank](const std::string& why) {
        throw std::invalid_argument("rank " + std::to_string(rank) + ": " + why);
    };
    if (nodes.size() != static_cast<std::size_t>(size)) {
        fail("the nodes of " + std::to_string(nodes.size()) + " ranks are given, and there are " +
             std::to_string(size));
    }
    if (neighbours == nullptr) {
        fail(
            "the ranks are on several nodes, but there are no neighbours to share memory with; "
            "pass them, or leave the nodes out");
    }
    for (int other = 0; other < size; ++other) {
        const auto node_of = [&](int r) { return nodes[static_cast<std::size_t>(r)]; };
        if ((node_of(other) == node_of(rank)) == (neighbours->local(other) >= 0)) continue;
        fail("rank " + std::to_string(other) + " is on node " + std::to_string(node_of(other)) +
             ", this rank on node " + std::to_string(node_of(rank)) +
             ", but the neighbours say otherwise");
    }
}

}  // namespace

Communicator::Communicator(std::unique_ptr<Transport> transport, const Options& options,
                           std::unique_ptr<Neighbours> neighbours)
    : options_(options),
      rank_(transport->rank()),
      size_(transport->size()),
      any_thread_(transport->any_thread()),
      tags_(transport->tag_count()),
      collective_tags_(collective_tags(*transport)),
      transport_name_(transport->name()),
      transport_(std::move(transport)),
      neighbours_(std::move(neighbours)),
      shows_calls_(options.checks_calls && size_ > 1 && !(neighbours_ && neighbours_->are_all())),
      means_{transport_.get(), &pool_, neighbours_.get(), &sent_bytes_},
      plans_(options.model, options.wishes) {
    check_nodes(options_.nodes, rank_, size_, neighbours_.get());
    // See Patience: naps that come after that are short beside it.
    if (neighbours_ && !options_.oversubscribed) neighbours_->node().sleeps_are_rare();
}

Communicator::~Communicator() {
    abandoned_.insert(abandoned_.end(), active_.begin(), active_.end());
    if (!abandoned_.empty()) abandon(std::move(transport_), std::move(abandoned_));
}

void Communicator::require_usable() const {
    if (closed()) throw CollectiveError(who() + "this communicator is closed");
    if (!broken_.empty()) {
        throw CollectiveError(who() + "this communicator failed earlier and cannot be used: " +
                              broken_ + "; make a new one");
    }
}

void Communicator::run(const Call& call, std::shared_ptr<void> keep_alive) {
    std::shared_ptr<Execution> execution = begin(call, std::move(keep_alive));
    wait(*execution, std::nullopt);
    // Nobody else refers to it any more, or is about to drop a reference without a look.
    const Lock lock(mutex_);
    spare_.push_back(std::move(execution));
}

Work Communicator::start(const Call& call, std::shared_ptr<void> keep_alive) {
    std::shared_ptr<Execution> execution = begin(call, std::move(keep_alive));
    if (!execution->done()) watch(shared_from_this());
    return {shared_from_this(), std::move(execution)};
}

Work Communicator::send(std::span<const std::byte> bytes, int peer, int tag,
                        std::shared_ptr<void> keep_alive, const std::optional<OnGpu>& gpu) {
    return message(StepKind::send, bytes.size(), peer, tag, {.input = bytes.data()},
                   std::move(keep_alive), gpu);
}

Work Communicator::recv(std::span<std::byte> bytes, int peer, int tag,
                        std::shared_ptr<void> keep_alive, const std::optional<OnGpu>& gpu) {
    return message(StepKind::recv, bytes.size(), peer, tag, {.output = bytes.data()},
                   std::move(keep_alive), gpu);
}

Request Communicator::request_of(const Call& call) const {
    Request request = request_for(call, rank_, size_);
    request.nodes = options_.nodes;
    return request;
}

std::pair<std::string, std::uint64_t> Communicator::chosen(const Call& call, bool registered) {
    const Request request = request_of(call);
    const Lock lock(mutex_);
    Choice choice = plans_.choice(request, call, reach());
    // Nobody asks where the arrays are for an algorithm that does not care.
    if (!registered && choice.algorithm->reach == Reach::arrays) {
        choice = plans_.choice(request, call, private_reach());
    }
    return {std::string(choice.algorithm->name), choice.chunk * size_of(call.dtype)};
}

void Communicator::close() {
    std::unique_ptr<Transport> transport;
    std::shared_ptr<GpuSide> gpu;
    Executions abandoned;
    {
        Lock lock(mutex_);
        closed_ = true;
        wait_until(lock, &Communicator::nothing_is_outstanding);
        transport = std::move(transport_);
        abandoned.swap(abandoned_);
        spare_.clear();
        plans_.clear();
        gpu.swap(gpu_);
        neighbours_.reset();
    }
    if (!abandoned.empty()) abandon(std::move(transport), std::move(abandoned));
}

/// Of what begins now: by the clock by which progress() looks whether it is over; the end of time,
/// where that comes first.
Clock::time_point Communicator::deadline() const {
    const auto now = coarse_now() + coarse_tick();
    return options_.timeout < Clock::time_point::max() - now ? now + options_.timeout
                                                             : Clock::time_point::max();
}

template <typename How>
std::shared_ptr<Execution> Communicator::launch(const Execution::Label& label,
                                                const Execution::Operands& operands, int tag,
                                                std::unique_ptr<GpuRun> gpu,
                                                std::shared_ptr<void> keep_alive, How&& how) {
    std::shared_ptr<Execution> execution;
    if (spare_.empty()) {
        execution = std::make_shared<Execution>();
    } else {
        execution = std::move(spare_.back());
        spare_.pop_back();
    }
    active_.push_back(execution);
    execution->renew();
    execution->prepare(label, deadline(), std::move(keep_alive));
    execution->set_operands(operands, tag, std::move(gpu));
    // From here on peers may have heard of it.
    if (label.sequence > 0) sequence_ = label.sequence;
    try {
        how(execution);
    } catch (const std::exception& error) {
        break_off(execution.get(), failure_of(error));
        execution->check();
    }
    if (execution->done()) active_.pop_back();
    return execution;
}

Execution::Label Communicator::label_of(const PreparedCall& call, std::uint64_t sequence) {
    return {.what = name(call.collective), .count = call.count, .sequence = sequence};
}

std::shared_ptr<Execution> Communicator::begin(const Call& call, std::shared_ptr<void> keep_alive) {
    const Request request = request_of(call);
    // Now, and without the lock, as loading them may wait for all streams.
    if (call.gpu && reduces(call.collective)) {
        static_cast<void>(cuda::Gpu::at(call.gpu->ordinal).kernels());
    }
    Lock lock(mutex_);
    require_usable();
    wait_until(lock, &Communicator::nobody_gets_introduced);
    require_usable();
    if (call.gpu) {
        use_gpu(call.gpu->ordinal);
        if (!gpu_->is_introduced()) {
            // What is wrong with the call is to be found before anybody hears of it.
            static_cast<void>(plans_.choice(request, call, reach()));
            get_introduced(call, lock);
            require_usable();
        }
    }
    std::shared_ptr<const PreparedCall> prepared = prepare(request, call);
    std::unique_ptr<GpuRun> gpu;
    if (call.gpu) {
        gpu = prepare_gpu(*call.gpu, {prepared->if_private, prepared->if_registered}, lock);
    }
    wait_until(lock, &Communicator::next_tag_is_free);
    require_usable();
    return enter(std::move(prepared), call.input, call.output, std::move(gpu),
                 std::move(keep_alive));
}

std::shared_ptr<Execution> Communicator::enter(std::shared_ptr<const PreparedCall> call,
                                               const void* input, void* output,
                                               std::unique_ptr<GpuRun> gpu,
                                               std::shared_ptr<void> keep_alive) {
    const std::uint64_t sequence = sequence_ + 1;
    const bool enters = neighbours_ || shows_calls_ || gpu != nullptr;
    const auto place = [&](const void* data, std::uint64_t bytes) {
        if (bytes == 0 || !neighbours_ || call->meets_in_plan) return SharedNode::Place();
        return gpu != nullptr ? GpuHeap::of(gpu_->gpu().ordinal()).place_of(data, bytes)
                              : SharedNode::of(data, bytes);
    };
    const SharedNode::Place input_place = place(input, call->input_bytes);
    const SharedNode::Place output_place = place(output, call->output_bytes);
    return launch(
        label_of(*call, sequence), {input, output, call->dtype, call->op}, tag_of(sequence),
        std::move(gpu), std::move(keep_alive), [&](const std::shared_ptr<Execution>& execution) {
            if (!enters) {
                return execution->begin(call->if_private, means_, Execution::Entry::none);
            }
            const SharedNode::Post post = numbered(call->post, sequence);
            entries_.push_back({execution, std::move(call), post, input_place, output_place});
            if (entries_.size() == 1) advance_entries();
        });
}

Reach Communicator::reach() const {
    if (!options_.nodes.empty()) return Reach::stages;
    return neighbours_ && neighbours_->are_all() ? Reach::mapped : Reach::messages;
}

Reach Communicator::private_reach() const {
    const Reach best = reach();
    if (best != Reach::mapped) return best;
    return options_.copies_across ? Reach::arrays : Reach::stages;
}

void Communicator::get_introduced(const Call& call, Lock& lock) {
    if (size_ == 1) {
        return gpu_->introduce(Reach::messages,
                               PlanCache(gpu_model(options_.model, true), options_.wishes),
                               gpu_->takes_gpu_memory(), nullptr);
    }
    gets_introduced_ = true;
    std::exception_ptr failure;
    try {
        offer_gpu(lock);
        wait_until(lock, &Communicator::next_tag_is_free);
        require_usable();
        const std::uint64_t sequence = sequence_ + 1;
        const Execution::Label label{
            .what = name(call.collective), .count = call.count, .sequence = sequence};
        const int tag = tag_of(sequence);
        const std::shared_ptr<Execution> execution =
            launch(label, {.dtype = call.dtype}, tag, nullptr, nullptr,
                   [&](const std::shared_ptr<Execution>& started) {
                       entries_.push_back({});
                       entries_.back().execution = started;
                       entries_.back().post = numbered(signature(call, rank_), sequence);
                       if (entries_.size() == 1) advance_entries();
                   });
        lock.unlock();
        wait(*execution, std::nullopt);
    } catch (...) {
        failure = std::current_exception();
    }
    if (!lock.owns_lock()) lock.lock();
    gets_introduced_ = false;
    if (failure) std::rethrow_exception(failure);
}

std::shared_ptr<const PreparedCall> Communicator::prepare(const Call& call) {
    const Request request = request_of(call);
    const Lock lock(mutex_);
    require_usable();
    return prepare(request, call);
}

std::shared_ptr<const PreparedCall> Communicator::prepare(const Request& request,
                                                          const Call& call) {
    PlanCache& plans = call.gpu ? gpu_->plans() : plans_;
    const Reach best = call.gpu ? gpu_->reach() : reach();
    const std::size_t element = size_of(call.dtype);
    auto prepared = std::make_shared<PreparedCall>();
    prepared->collective = call.collective;
    prepared->dtype = call.dtype;
    prepared->op = call.op;
    prepared->count = call.count;
    prepared->input_bytes = request.input_count() * element;
    prepared->output_bytes = request.output_count() * element;
    prepared->in_place = request.in_place;
    prepared->in_place_shift = in_place_shift(request, element);
    prepared->if_registered = plans.collective(request, call, best);
    // The kernel does not reach GPUs.
    const Reach other = call.gpu ? std::min(best, Reach::stages) : private_reach();
    prepared->if_private =
        other != best ? plans.collective(request, call, other) : prepared->if_registered;
    // What is best even for registered arrays is taken without asking whether they are.
    prepared->meets_in_plan =
        prepared->if_registered->is_one_sided() && !prepared->if_registered->meets_first();
    if (prepared->meets_in_plan) prepared->if_private = prepared->if_registered;
    prepared->on_gpu = call.gpu.has_value();
    prepared->post = signature(call, rank_);
    prepared->counts = own_counts(call);
    return prepared;
}

/// Tags repeat after `collective_tags_` calls. A call must not start before the one that had its
/// tag is over; its peers' messages then are, too, behind those of that call on every channel.
bool Communicator::next_tag_is_free() const {
    const auto oldest = std::ranges::find_if(
        active_, [](const auto& execution) { return execution->label().sequence > 0; });
    return oldest == active_.end() || sequence_ + 1 - (*oldest)->label().sequence <
                                          static_cast<std::uint64_t>(collective_tags_);
}

Work Communicator::message(StepKind kind, std::size_t bytes, int peer, int tag,
                           const Execution::Operands& operands, std::shared_ptr<void> keep_alive,
                           const std::optional<OnGpu>& gpu) {
    if (peer < 0 || peer >= size_ || peer == rank_) {
        throw std::invalid_argument("peer " + std::to_string(peer) + " is not another rank of " +
                                    std::to_string(size_));
    }
    if (tag < 0 || tag >= user_tags()) {
        throw std::invalid_argument("tag " + std::to_string(tag) + " is outside [0, " +
                                    std::to_string(user_tags()) + ")");
    }
    std::shared_ptr<Execution> execution;
    {
        Lock lock(mutex_);
        require_usable();
        auto plan = plans_.message(kind, rank_, size_, peer, bytes);
        std::unique_ptr<GpuRun> run;
        if (gpu) {
            use_gpu(gpu->ordinal);
            run = prepare_gpu(*gpu, {plan}, lock);
            require_usable();
        }
        execution =
            launch({.what = kind == StepKind::send ? "send" : "recv", .count = bytes, .tag = tag},
                   operands, collective_tags_ + tag, std::move(run), std::move(keep_alive),
                   [&](const std::shared_ptr<Execution>& started) {
                       messages_.push_back({kind, peer, started, std::move(plan)});
                       const Execution* culprit = nullptr;
                       start_messages(culprit);
                   });
    }
    watch(shared_from_this());
    return {shared_from_this(), std::move(execution)};
}

}  // namespace pycoll
