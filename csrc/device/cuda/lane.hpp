#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "core/dtype.hpp"
#include "core/reduction.hpp"
#include "device/cuda/gpu.hpp"

namespace pycoll::cuda {

/// The GPU does one thing of each at a time, and all of them at once.
enum class Queue : std::uint8_t {
    compute,   ///< folds, and copies within the GPU or to another one
    download,  ///< from the GPU to the host
    upload,    ///< from the host to the GPU
};
inline constexpr std::size_t queue_count = 3;

/// Something that was put on a queue: the how manieth on it.
struct Ticket {
    Queue queue = Queue::compute;
    std::uint64_t number = 0;
};

/// How far each queue must have come before something starts.
class After {
public:
    void add(const Ticket& ticket) {
        std::uint64_t& number = numbers_[static_cast<std::size_t>(ticket.queue)];
        if (ticket.number > number) number = ticket.number;
    }
    [[nodiscard]] std::uint64_t on(std::size_t queue) const { return numbers_[queue]; }

private:
    std::array<std::uint64_t, queue_count> numbers_{};
};

/// The queues of one operation at a time on a GPU. What is put on them runs later, in the order of
/// each queue, and of others as far as it is told; poll() sees it end.
///
/// All members, but for is_over(), with the GPU's context current (Gpu::Current); by one thread at
/// a time. They throw CudaError.
class Lane {
public:
    explicit Lane(Gpu& gpu);
    /// In any context. Waits for what is on the queues, unless CUDA has failed.
    ~Lane();
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;

    [[nodiscard]] Gpu& gpu() const { return gpu_; }

    /// Begins an operation that comes after what is on these streams by now.
    void follow(std::span<const Stream> streams);
    /// Has that come to its end?
    [[nodiscard]] bool is_ready();

    [[nodiscard]] Ticket copy(Queue queue, void* dst, const void* src, std::size_t bytes,
                              const After& after);
    /// As host::reduce_many(), into one destination.
    [[nodiscard]] Ticket fold(DType dtype, ReduceOp op, void* dst,
                              std::span<const void* const> srcs, std::uint64_t count,
                              std::size_t size, bool finish, const After& after);

    /// To be called when what can be put on the queues for now is on them: poll() sees the end of
    /// nothing else.
    void flush();
    /// Looks what has ended. True if anything has.
    bool poll();
    [[nodiscard]] bool is_over(const Ticket& ticket) const {
        return queues_[static_cast<std::size_t>(ticket.queue)].over >= ticket.number;
    }
    /// Waits until everything has ended. False if CUDA has failed.
    bool drain() noexcept;

private:
    /// An event behind what was put on a queue up to a number.
    struct Mark {
        std::uint64_t number;
        Event event;
    };
    struct State {
        Stream stream = nullptr;
        std::uint64_t started = 0;
        std::uint64_t over = 0;
        /// In order; those that have been reached are gone.
        std::deque<Mark> marks = {};
        /// How much of each other queue it is behind already.
        std::array<std::uint64_t, queue_count> behind{};
    };

    [[nodiscard]] Event take_event();
    [[nodiscard]] const Mark& mark(State& state);
    /// Puts a queue behind others.
    State& join(Queue queue, const After& after);

    Gpu& gpu_;
    const Driver& driver_;
    std::array<State, queue_count> queues_;
    /// On the streams that the operation comes after.
    std::vector<Event> arrivals_;
    std::vector<Event> spare_events_;
};

}  // namespace pycoll::cuda
