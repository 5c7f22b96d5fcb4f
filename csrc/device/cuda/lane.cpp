#include "device/cuda/lane.hpp"

namespace pycoll::cuda {

Lane::Lane(Gpu& gpu) : gpu_(gpu), driver_(gpu.driver()) {
    for (State& state : queues_) state.stream = gpu.create_stream();
}

Lane::~Lane() {
    try {
        const Gpu::Current current(gpu_);
        drain();
        for (State& state : queues_) {
            for (const Mark& mark : state.marks) driver_.destroy_event(mark.event);
            driver_.destroy_stream(state.stream);
        }
        for (auto* const event : arrivals_) driver_.destroy_event(event);
        for (auto* const event : spare_events_) driver_.destroy_event(event);
    } catch (const CudaError&) {  // NOLINT(bugprone-empty-catch)
        // The context has ended, and with it all that is in it.
    }
}

Event Lane::take_event() {
    if (!spare_events_.empty()) {
        auto* const event = spare_events_.back();
        spare_events_.pop_back();
        return event;
    }
    Event event = nullptr;
    driver_.require(driver_.create_event(&event, event_without_timing), "cuEventCreate");
    return event;
}

void Lane::follow(std::span<const Stream> streams) {
    for (auto* const stream : streams) {
        arrivals_.push_back(take_event());
        driver_.require(driver_.record_event(arrivals_.back(), stream), "cuEventRecord");
    }
}

bool Lane::is_ready() {
    while (!arrivals_.empty()) {
        const Result result = driver_.query_event(arrivals_.back());
        if (result == not_ready) return false;
        driver_.require(result, "cuEventQuery (of the stream before the call)");
        spare_events_.push_back(arrivals_.back());
        arrivals_.pop_back();
    }
    return true;
}

const Lane::Mark& Lane::mark(State& state) {
    if (state.marks.empty() || state.marks.back().number < state.started) {
        auto* const event = take_event();
        state.marks.push_back({state.started, event});
        driver_.require(driver_.record_event(event, state.stream), "cuEventRecord");
    }
    return state.marks.back();
}

Lane::State& Lane::join(Queue queue, const After& after) {
    const auto own = static_cast<std::size_t>(queue);
    State& state = queues_[own];
    for (std::size_t other = 0; other < queue_count; ++other) {
        if (other == own || after.on(other) <= state.behind[other]) continue;
        State& before = queues_[other];
        if (after.on(other) <= before.over) continue;
        const Mark& reached = mark(before);
        driver_.require(driver_.wait_event(state.stream, reached.event, 0), "cuStreamWaitEvent");
        state.behind[other] = reached.number;
    }
    return state;
}

Ticket Lane::copy(Queue queue, void* dst, const void* src, std::size_t bytes, const After& after) {
    State& state = join(queue, after);
    if (bytes > 0) {
        driver_.require(driver_.copy(address_of(dst), address_of(src), bytes, state.stream),
                        "cuMemcpyAsync");
    }
    return {queue, ++state.started};
}

Ticket Lane::fold(DType dtype, ReduceOp op, void* dst, std::span<const void* const> srcs,
                  std::uint64_t count, std::size_t size, bool finish, const After& after) {
    State& state = join(Queue::compute, after);
    if (count > 0) {
        gpu_.kernels().fold(state.stream, dtype, op, dst, srcs, count, size, finish);
    }
    return {Queue::compute, ++state.started};
}

void Lane::flush() {
    for (State& state : queues_) {
        if (state.over < state.started) static_cast<void>(mark(state));
    }
}

bool Lane::poll() {
    bool moved = false;
    for (State& state : queues_) {
        while (!state.marks.empty()) {
            const Result result = driver_.query_event(state.marks.front().event);
            if (result == not_ready) break;
            driver_.require(result, "cuEventQuery");
            state.over = state.marks.front().number;
            spare_events_.push_back(state.marks.front().event);
            state.marks.pop_front();
            moved = true;
        }
    }
    return moved;
}

bool Lane::drain() noexcept {
    for (const State& state : queues_) {
        if (driver_.synchronize_stream(state.stream) != success) return false;
    }
    return true;
}

}  // namespace pycoll::cuda
