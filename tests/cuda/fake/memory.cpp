#include "memory.hpp"

#include <sys/mman.h>

#include <iterator>
#include <string>

#include "call.hpp"
#include "exported.hpp"

namespace fake_cuda {

Allocation* find_allocation(Allocations& allocations, Address address) {
    const auto after = allocations.upper_bound(address);
    if (after == allocations.begin()) return nullptr;
    Allocation& allocation = std::prev(after)->second;
    return address < allocation.begin + allocation.bytes ? &allocation : nullptr;
}

namespace {

/// Waits for everything on the GPU, as the real driver does before it takes memory away, and finds
/// the memory that begins there. Null for none of this kind.
Allocation* wait_to_free(Call& call, Address begin, Kind kind, const char* function) {
    const auto found = call.machine.allocations.find(begin);
    if (found == call.machine.allocations.end() || found->second.kind != kind) return nullptr;
    if (const What user = call.machine.find_user(found->second).first) {
        call.machine.misuse(std::string(function) + " of memory before the end of: " + *user);
    }
    // Memory of the host belongs to all GPUs.
    call.machine.wait_for_all(call.lock, kind == Kind::pinned ? nullptr : found->second.context);
    while (const Ending user = call.machine.find_user(found->second).second) {
        call.machine.wait_for(call.lock, user);
    }
    return &found->second;
}

}  // namespace
}  // namespace fake_cuda

using namespace fake_cuda;

EXPORTED Result cuMemAlloc_v2(Address* address, std::size_t bytes) {
    return in_context("cuMemAlloc_v2", [&](Call& call) {
        if (address == nullptr || bytes == 0) return invalid_value;
        if (disturbs_capture(call)) return capture_unsupported;
        if (call.machine.allocations_wait) {
            call.machine.wait_for_all(call.lock, call.context);
        }
        const int device = call.context->device;
        const auto piece = call.machine.memory(device).allocate(bytes);
        if (!piece) return out_of_memory;
        call.machine.allocations.emplace(piece->begin, Allocation{.kind = Kind::device,
                                                                  .begin = piece->begin,
                                                                  .bytes = bytes,
                                                                  .alias = piece->alias,
                                                                  .device = device,
                                                                  .context = call.context});
        *address = piece->begin;
        return success;
    });
}

EXPORTED Result cuMemFree_v2(Address address) {
    return releasing("cuMemFree_v2", [&](Call& call) {
        if (address == 0) return success;
        if (disturbs_capture(call)) return capture_unsupported;
        const Allocation* const memory = wait_to_free(call, address, Kind::device, "cuMemFree");
        if (memory == nullptr) return invalid_value;
        DeviceMemory& of_device = call.machine.memory(memory->device);
        if (header_of(memory->alias).mappings > 0) {
            call.machine.misuse("cuMemFree of memory that another process still maps");
        }
        of_device.free(address);
        call.machine.allocations.erase(address);
        return success;
    });
}

EXPORTED Result cuMemHostAlloc(void** memory, std::size_t bytes, unsigned flags) {
    return in_context("cuMemHostAlloc", [&](Call& call) {
        constexpr unsigned all_flags = 7;
        if (memory == nullptr || bytes == 0 || flags > all_flags) return invalid_value;
        if (disturbs_capture(call)) return capture_unsupported;
        if (call.machine.allocations_wait) call.machine.wait_for_all(call.lock, nullptr);
        void* const mapped = mmap(nullptr, in_pages(bytes), PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped == MAP_FAILED) return out_of_memory;
        const auto begin = reinterpret_cast<Address>(mapped);
        call.machine.allocations.emplace(begin, Allocation{.kind = Kind::pinned,
                                                           .begin = begin,
                                                           .bytes = bytes,
                                                           .alias = static_cast<std::byte*>(mapped),
                                                           .device = call.context->device,
                                                           .context = call.context});
        *memory = mapped;
        return success;
    });
}

EXPORTED Result cuMemFreeHost(void* memory) {
    return releasing("cuMemFreeHost", [&](Call& call) {
        if (disturbs_capture(call)) return capture_unsupported;
        const auto begin = reinterpret_cast<Address>(memory);
        const Allocation* const pinned = wait_to_free(call, begin, Kind::pinned, "cuMemFreeHost");
        if (pinned == nullptr) return invalid_value;
        munmap(memory, in_pages(pinned->bytes));
        call.machine.allocations.erase(begin);
        return success;
    });
}

EXPORTED Result cuMemHostGetDevicePointer_v2(Address* address, void* memory, unsigned flags) {
    return in_context("cuMemHostGetDevicePointer_v2", [&](Call& call) {
        if (address == nullptr || flags != 0) return invalid_value;
        const auto same = reinterpret_cast<Address>(memory);
        const Allocation* const pinned = find_allocation(call.machine.allocations, same);
        if (pinned == nullptr || pinned->kind != Kind::pinned) return invalid_value;
        *address = same;
        return success;
    });
}

EXPORTED Result cuPointerGetAttribute(void* data, int attribute, Address address) {
    return initialized("cuPointerGetAttribute", [&](Call& call) {
        const Allocation* const memory = find_allocation(call.machine.allocations, address);
        if (data == nullptr || memory == nullptr) return invalid_value;
        const bool is_pinned = memory->kind == Kind::pinned;
        const auto give = [&]<typename Value>(Value value) {
            *static_cast<Value*>(data) = value;
            return success;
        };
        switch (attribute) {
            case 1:  // the context
                return give(reinterpret_cast<pycoll::cuda::Context>(memory->context));
            case pycoll::cuda::pointer_memory_type:
                return give(is_pinned ? 1U : pycoll::cuda::memory_of_device);
            case 3:  // where GPUs see it
                return give(address);
            case 4:  // where the host sees it
                return is_pinned ? give(address) : invalid_value;
            case pycoll::cuda::pointer_is_managed:
                return give(0);
            case pycoll::cuda::pointer_device:
                return give(memory->device);
            case 11:  // where the allocation begins
                return give(memory->begin);
            case 12:  // how long it is
                return give(memory->bytes);
            default:
                return invalid_value;
        }
    });
}

EXPORTED Result cuIpcCloseMemHandle(Address address) {
    return releasing("cuIpcCloseMemHandle", [&](Call& call) {
        Allocation* const memory = wait_to_free(call, address, Kind::mapped, "cuIpcCloseMemHandle");
        if (memory == nullptr) return invalid_value;
        if (--memory->opened > 0) return success;
        call.machine.mappings.at(address).close();
        call.machine.mappings.erase(address);
        call.machine.allocations.erase(address);
        return success;
    });
}
