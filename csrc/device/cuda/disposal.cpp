#include "device/cuda/disposal.hpp"

#include <unistd.h>

#include <exception>
#include <thread>

#include "device/cuda/gpu.hpp"

namespace pycoll::cuda {

Disposal::Disposal(const Gpu& gpu) : gpu_(gpu), process_(getpid()) {}

/// A forked child has a copy of this, but not the thread, and cannot use CUDA.
bool Disposal::is_forked() const { return process_ != getpid(); }

void Disposal::add(Memory memory) noexcept {
    if (is_forked()) return;
    const std::lock_guard lock(mutex_);
    if (is_stopped_) return;
    try {
        waiting_.push_back(memory);
        if (is_running_) return;
        std::thread([this] { run(); }).detach();
        is_running_ = true;
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
        // No more threads to be had: the next add() tries again. Or no memory to note it down: then
        // it is lost to this process.
    }
}

bool Disposal::wait_until(Time end) {
    if (is_forked()) return false;
    std::unique_lock lock(mutex_);
    done_.wait_until(lock, end, [this] { return !is_running_; });
    return waiting_.empty() && !is_running_;
}

std::uint64_t Disposal::freed() {
    if (is_forked()) return 0;
    const std::lock_guard lock(mutex_);
    return freed_;
}

void Disposal::stop() {
    if (is_forked()) return;
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
}

void Disposal::run() {
    std::unique_lock lock(mutex_);
    while (!waiting_.empty()) {
        std::vector<Memory> taken;
        taken.swap(waiting_);
        lock.unlock();
        for (const Memory& memory : taken) free(memory);
        lock.lock();
        freed_ += taken.size();
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
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
        // The driver has been shut down, or an error has ended the context.
    }
}

}  // namespace pycoll::cuda
