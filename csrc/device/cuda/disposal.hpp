#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace pycoll::cuda {

class Gpu;

/// Gives memory back to CUDA, in a thread of its own.
///
/// CUDA takes memory back when all that is on the GPU's streams has come to its end, and waits for
/// that. But a stream may wait for an operation of pycoll, and whoever lets go of memory may be who
/// has to move that operation along: the progress thread, or somebody who holds what that needs.
///
/// The thread ends when there is nothing left to free. All members may be called from any thread.
class Disposal {
public:
    using Time = std::chrono::steady_clock::time_point;
    /// What CUDA gave.
    struct Memory {
        enum class Kind : bool { device, pinned };
        Kind kind;
        std::byte* data;
    };

    /// `gpu` lives as long as the process, and so does this.
    explicit Disposal(const Gpu& gpu);
    Disposal(const Disposal&) = delete;
    Disposal& operator=(const Disposal&) = delete;

    /// Does not wait. Where no thread can be started, memory stays until more is let go of.
    void add(Memory memory) noexcept;
    /// Waits until all that was added is free, or that time has come. Is it?
    bool wait_until(Time end);
    /// How many pieces of memory have been freed so far.
    [[nodiscard]] std::uint64_t freed();
    /// From now on, what is added goes with the process.
    void stop();

private:
    void run();
    void free(const Memory& memory) const noexcept;
    [[nodiscard]] bool is_forked() const;

    const Gpu& gpu_;
    const pid_t process_;
    std::mutex mutex_;
    std::condition_variable done_;
    std::vector<Memory> waiting_;
    bool is_running_ = false;
    bool is_stopped_ = false;
    std::uint64_t freed_ = 0;
};

}  // namespace pycoll::cuda
