#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "transport/cuda/heap.hpp"
#include "transport/shared/node.hpp"

namespace pycoll {

/// What the ranks of one node see of each other's GPUs, for one communicator: a stage of each, and
/// registered arrays. Mapped by CUDA IPC, once, and kept.
class GpuNode {
public:
    /// `node` must outlive it. Throws cuda::CudaError when there is no memory for a stage.
    GpuNode(SharedNode& node, cuda::Gpu& gpu);
    /// Keeps this rank's stage for the rest of the process: peers may still be in a call that is
    /// over here, and read it. (On the host the segment is theirs, too.)
    ~GpuNode();
    GpuNode(const GpuNode&) = delete;
    GpuNode& operator=(const GpuNode&) = delete;

    /// Where this rank's stage lies, for its peers.
    [[nodiscard]] SharedNode::Place own_stage() const;
    /// Maps the stage of a peer. False where this process cannot see its memory: another GPU out of
    /// reach, another user, another process namespace.
    [[nodiscard]] bool map_stage(int peer, const SharedNode::Place& place);

    /// For the call that this rank is in.
    [[nodiscard]] std::byte* stage(int peer, SharedNode::Area area) const {
        return stages_[static_cast<std::size_t>(peer)] + node_.stage_offset(area);
    }
    /// Where the GPU of this rank sees a place of a peer's; null for none. Not for a hidden one.
    /// Throws cuda::CudaError and std::system_error when the memory cannot be mapped.
    [[nodiscard]] std::byte* attach(int peer, const SharedNode::Place& place);

private:
    SharedNode& node_;
    cuda::Gpu& gpu_;
    GpuHeap& heap_;
    std::shared_ptr<std::byte> own_;
    std::vector<std::byte*> stages_;
};

}  // namespace pycoll
