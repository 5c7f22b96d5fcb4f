#include "transport/cuda/heap.hpp"

#include <unistd.h>

#include <algorithm>
#include <new>

namespace pycoll {

GpuHeap& GpuHeap::of(int ordinal) {
    static std::mutex mutex;
    // Never destroyed: arrays may outlive everything else.
    static auto& heaps = *new std::map<int, std::unique_ptr<GpuHeap>>();
    cuda::Gpu& gpu = cuda::Gpu::at(ordinal);
    const std::lock_guard lock(mutex);
    auto& heap = heaps[ordinal];
    if (heap == nullptr) heap = std::make_unique<GpuHeap>(gpu);
    return *heap;
}

std::unique_ptr<GpuHeap::Arena> GpuHeap::new_arena(std::size_t bytes) const {
    auto arena = std::make_unique<Arena>(std::max(bytes, arena_bytes));
    arena->record = SharedHeap::instance().allocate(sizeof(GpuExport));
    arena->data = gpu_.memory().allocate(arena->bytes);
    auto* const record = new (arena->record.get())
        GpuExport{getpid(), gpu_.ordinal(), cuda::address_of(arena->data), arena->bytes, {}};
    const cuda::Gpu::Current current(gpu_);
    // Where the system knows no such handles, ranks of other processes find that out.
    gpu_.driver().ipc_handle(&record->handle, record->address);
    return arena;
}

std::byte* GpuHeap::take(std::size_t bytes) {
    for (const auto& arena : arenas_) {
        if (const auto offset = arena->free.take(bytes, alignment)) return arena->data + *offset;
    }
    return nullptr;
}

void GpuHeap::recycle() {
    std::vector<std::pair<const std::byte*, std::size_t>> returned;
    {
        const std::lock_guard lock(mutex_);
        returned = returned_;
    }
    {
        const cuda::Gpu::Current current(gpu_);
        gpu_.driver().require(gpu_.driver().synchronize(), "cuCtxSynchronize");
    }
    const std::lock_guard lock(mutex_);
    for (const auto& [data, bytes] : returned) {
        const auto owner = std::ranges::find_if(arenas_, [&](const auto& arena) {
            return data >= arena->data && data < arena->data + arena->bytes;
        });
        (*owner)->free.give_back(static_cast<std::size_t>(data - (*owner)->data), bytes);
    }
    // More may have come meanwhile, behind those.
    returned_.erase(returned_.begin(),
                    returned_.begin() + static_cast<std::ptrdiff_t>(returned.size()));
}

std::shared_ptr<std::byte> GpuHeap::allocate(std::size_t bytes) {
    const std::size_t size =
        (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
    const std::lock_guard allocating(allocating_);
    std::unique_lock lock(mutex_);
    std::byte* data = take(size);
    if (data == nullptr && !returned_.empty()) {
        lock.unlock();
        recycle();
        lock.lock();
        data = take(size);
    }
    if (data == nullptr) {
        lock.unlock();
        auto arena = new_arena(size);
        lock.lock();
        arenas_.push_back(std::move(arena));
        data = take(size);
    }
    used_.emplace(data, size);
    return {data, [this](const std::byte* freed) { give_back(freed); }};
}

void GpuHeap::give_back(const std::byte* data) {
    const std::lock_guard lock(mutex_);
    const auto used = used_.find(data);
    returned_.emplace_back(data, used->second);
    used_.erase(used);
}

SharedNode::Place GpuHeap::place_of(const void* data, std::size_t bytes) const {
    if (data == nullptr) return {};
    const auto* const begin = static_cast<const std::byte*>(data);
    const std::lock_guard lock(mutex_);
    for (const auto& arena : arenas_) {
        if (begin < arena->data || begin >= arena->data + arena->bytes) continue;
        const auto offset = static_cast<std::size_t>(begin - arena->data);
        if (bytes > arena->bytes - offset) break;
        const auto record = SharedHeap::instance().find(arena->record.get(), sizeof(GpuExport));
        if (record) return SharedNode::at(*record, offset);
    }
    return SharedNode::hidden();
}

}  // namespace pycoll
