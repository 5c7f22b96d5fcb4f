#include "device/cuda/disposal.hpp"

#include <unistd.h>

#include <new>
#include <system_error>
#include <thread>

#include "device/cuda/gpu.hpp"

namespace pycoll::cuda {

/// A forked child has a copy of this, but not the thread, and cannot use CUDA.
bool Disposal::is_forked() const { return process_ != 0 && process_ != getpid(); }

void Disposal::add(Memory memory) noexcept {
    if (is_forked()) return;
    const std::lock_guard lock(mutex_);
    try {
        waiting_.push_back(memory);
        if (is_running_) return;
        process_ = getpid();
        std::thread([this] { run(); }).detach();
        is_running_ = true;
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch)
        // Memory that cannot be noted down is lost to this process.
    } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch)
        // No more threads to be had: the next add() tries again.
    }
}

bool Disposal::wait(std::chrono::nanoseconds longest) {
    if (is_forked()) return false;
    std::unique_lock lock(mutex_);
    return is_running_ && done_.wait_for(lock, longest, [this] { return !is_running_; });
}

void Disposal::run() {
    std::unique_lock lock(mutex_);
    while (!waiting_.empty()) {
        std::vector<Memory> taken;
        taken.swap(waiting_);
        lock.unlock();
        for (const Memory& memory : taken) free(memory);
        lock.lock();
    }
    is_running_ = false;
    done_.notify_all();
}

void Disposal::free(const Memory& memory) const noexcept {
    try {
        const Gpu::Current current(gpu_);
        if (memory.kind == Memory::Kind::pinned) {
            gpu_.driver().free_host(memory.data);
        } else {
            gpu_.driver().free(address_of(memory.data));
        }
    } catch (const CudaError&) {  // NOLINT(bugprone-empty-catch)
        // The driver has been shut down, or an error has ended the context.
    }
}

}  // namespace pycoll::cuda
