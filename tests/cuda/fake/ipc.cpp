#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "call.hpp"
#include "exported.hpp"

using namespace fake_cuda;
using pycoll::cuda::IpcHandle;

static_assert(sizeof(MappedPiece::Name) <= sizeof(IpcHandle));

EXPORTED Result cuIpcGetMemHandle(IpcHandle* handle, Address address) {
    return in_context("cuIpcGetMemHandle", [&](Call& call) {
        const Allocation* const memory = find_allocation(call.machine.allocations, address);
        if (handle == nullptr || memory == nullptr || memory->kind != Kind::device) {
            return invalid_value;
        }
        const DeviceMemory& of_device = call.machine.memory(memory->device);
        const Piece& piece = of_device.piece(memory->begin);
        const MappedPiece::Name name{.mark = MappedPiece::mark,
                                     .owner = getpid(),
                                     .descriptor = of_device.descriptor(),
                                     .device = memory->device,
                                     .offset = piece.offset,
                                     .bytes = memory->bytes,
                                     .serial = piece.serial};
        *handle = {};
        std::memcpy(handle->bytes.data(), &name, sizeof name);
        return success;
    });
}

EXPORTED Result cuIpcOpenMemHandle_v2(Address* address, IpcHandle handle, unsigned flags) {
    return in_context("cuIpcOpenMemHandle_v2", [&](Call& call) {
        MappedPiece::Name name;
        std::memcpy(&name, handle.bytes.data(), sizeof name);
        if (address == nullptr || flags != pycoll::cuda::ipc_lazy_peer_access ||
            name.mark != MappedPiece::mark) {
            return invalid_value;
        }
        if (name.owner == getpid()) return invalid_context;
        if (name.device != call.context->device && !settings().peer_access) {
            return peer_access_unsupported;
        }
        // Opened once more, it is where it was.
        for (auto& [begin, memory] : call.machine.allocations) {
            if (memory.kind == Kind::mapped && memory.context == call.context &&
                memory.origin == name) {
                ++memory.opened;
                *address = begin;
                return success;
            }
        }
        const auto piece = MappedPiece::open(name);
        if (!piece) return invalid_value;
        *address = piece->begin();
        call.machine.mappings.emplace(*address, *piece);
        call.machine.allocations.emplace(*address, Allocation{.kind = Kind::mapped,
                                                              .begin = *address,
                                                              .bytes = name.bytes,
                                                              .alias = piece->alias(),
                                                              .device = name.device,
                                                              .context = call.context,
                                                              .origin = name,
                                                              .opened = 1});
        return success;
    });
}
