#include "transport/cuda/node.hpp"

#include <unistd.h>

#include <array>
#include <map>
#include <mutex>
#include <system_error>
#include <utility>

namespace pycoll {
namespace {

/// Where this process has mapped memory of others, by GPU and handle. CUDA maps a handle once per
/// context, whoever asks; heaps free nothing that others may have mapped.
std::byte* map(cuda::Gpu& gpu, const GpuExport& record) {
    using Key = std::pair<int, std::array<char, sizeof(cuda::IpcHandle)>>;
    static std::mutex mutex;
    static auto& known = *new std::map<Key, cuda::Address>();
    const std::lock_guard lock(mutex);
    const Key key{gpu.ordinal(), record.handle.bytes};
    auto found = known.find(key);
    if (found == known.end()) {
        const cuda::Gpu::Current current(gpu);
        cuda::Address address = 0;
        gpu.driver().require(
            gpu.driver().open_ipc(&address, record.handle, cuda::ipc_lazy_peer_access),
            "cuIpcOpenMemHandle");
        found = known.emplace(key, address).first;
    }
    return cuda::pointer_to(found->second);
}

}  // namespace

GpuNode::GpuNode(SharedNode& node, cuda::Gpu& gpu)
    : node_(node),
      gpu_(gpu),
      heap_(GpuHeap::of(gpu.ordinal())),
      own_(heap_.allocate(SharedNode::gpu_rank_bytes)),
      stages_(static_cast<std::size_t>(node.size())) {
    stages_[static_cast<std::size_t>(node.rank())] = own_.get();
}

GpuNode::~GpuNode() { heap_.keep(std::move(own_)); }

SharedNode::Place GpuNode::own_stage() const {
    return heap_.place_of(own_.get(), SharedNode::gpu_rank_bytes);
}

bool GpuNode::map_stage(int peer, const SharedNode::Place& place) {
    try {
        stages_[static_cast<std::size_t>(peer)] = attach(peer, place);
        return true;
    } catch (const cuda::CudaError&) {
        return false;
    } catch (const std::system_error&) {
        return false;
    }
}

std::byte* GpuNode::attach(int peer, const SharedNode::Place& place) {
    if (place.is_absent()) return nullptr;
    const auto& record = *reinterpret_cast<const GpuExport*>(node_.attach(peer, place));
    if (record.process != getpid()) return map(gpu_, record) + place.gpu_offset;
    // Ranks may be threads of one process. CUDA IPC is for those of several.
    if (record.ordinal != gpu_.ordinal()) {
        throw cuda::CudaError("ranks of one process have different GPUs");
    }
    return cuda::pointer_to(record.address) + place.gpu_offset;
}

}  // namespace pycoll
