#pragma once

#include <sys/types.h>

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "device/cuda/gpu.hpp"
#include "transport/shared/free_list.hpp"
#include "transport/shared/node.hpp"

namespace pycoll {

/// What other processes of the node need to see some memory of a GPU. Lies in memory of the host
/// that they can attach.
struct GpuExport {
    pid_t process;
    int ordinal;
    cuda::Address address;
    std::size_t bytes;
    cuda::IpcHandle handle;
};

/// The registered memory of one GPU: what it hands out, every process of the node can see that can
/// reach the GPU.
///
/// Blocks are cut from large allocations, which are kept until the process ends: CUDA does not
/// allow an allocation to be freed that others have mapped. All members may be called from any
/// thread.
class GpuHeap {
public:
    static constexpr std::size_t alignment = 512;
    static constexpr std::size_t arena_bytes = std::size_t{64} << 20;

    /// The one of this process for a GPU. Throws cuda::CudaError when there is no such GPU.
    static GpuHeap& of(int ordinal);

    explicit GpuHeap(cuda::Gpu& gpu) : gpu_(gpu) {}
    GpuHeap(const GpuHeap&) = delete;
    GpuHeap& operator=(const GpuHeap&) = delete;

    [[nodiscard]] cuda::Gpu& gpu() const { return gpu_; }

    /// Memory that goes back to the heap with its last owner. What streams still do with memory
    /// that was given back is over before it is handed out again: that may wait for the GPU.
    /// Throws cuda::CudaError when there is no more.
    [[nodiscard]] std::shared_ptr<std::byte> allocate(std::size_t bytes);

    /// Where the bytes lie, for peers; hidden if not all of them are in the heap.
    [[nodiscard]] SharedNode::Place place_of(const void* data, std::size_t bytes) const;

    /// Never hands this memory out again: peers may still be reading it.
    void keep(std::shared_ptr<std::byte> memory) {
        const std::lock_guard lock(mutex_);
        kept_.push_back(std::move(memory));
    }

private:
    struct Arena {
        explicit Arena(std::size_t size) : bytes(size), free(size) {}

        std::byte* data = nullptr;
        std::size_t bytes;
        FreeList free;
        /// Holds a GpuExport.
        std::shared_ptr<std::byte> record = nullptr;
    };

    [[nodiscard]] std::unique_ptr<Arena> new_arena(std::size_t bytes) const;
    /// Null where there is no room.
    [[nodiscard]] std::byte* take(std::size_t bytes);
    /// Makes what was given back free again, once streams are done with it.
    void recycle();
    void give_back(const std::byte* data);

    cuda::Gpu& gpu_;
    /// One allocation at a time; held while that waits for the GPU, and taken before the other.
    std::mutex allocating_;
    /// Never held while waiting for the GPU: what moves operations along takes it, and streams may
    /// wait for these.
    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<Arena>> arenas_;
    /// Bytes of what is handed out.
    std::map<const std::byte*, std::size_t> used_;
    std::vector<std::shared_ptr<std::byte>> kept_;
    /// Given back, but streams may still be at work on it.
    std::vector<std::pair<const std::byte*, std::size_t>> returned_;
};

}  // namespace pycoll
