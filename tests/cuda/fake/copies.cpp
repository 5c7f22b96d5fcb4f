#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "call.hpp"
#include "exported.hpp"

using namespace fake_cuda;
using StreamHandle = pycoll::cuda::Stream;

namespace {

/// One end of a copy.
struct Place {
    std::byte* alias;
    /// Memory that CUDA does not know: it is the program's, and never has to wait.
    bool is_pageable;
    const char* name;
};

/// Nothing for what no copy may touch.
std::optional<Place> find_place(const Call& call, Address address, std::size_t bytes) {
    const Allocation* const memory = find_allocation(call.machine.allocations, address);
    if (memory == nullptr) {
        if (address == 0 || call.machine.is_device_memory(address)) return std::nullopt;
        return Place{reinterpret_cast<std::byte*>(address), true, "pageable memory"};
    }
    const std::size_t offset = address - memory->begin;
    if (bytes > memory->bytes - offset) return std::nullopt;
    constexpr const char* names[] = {"device memory", "pinned memory", "mapped memory"};
    return Place{memory->alias + offset, false, names[static_cast<std::size_t>(memory->kind)]};
}

What describe(const std::string& what, std::size_t bytes, StreamHandle stream) {
    char where[32];
    std::snprintf(where, sizeof where, " on stream %p", static_cast<void*>(stream));
    return std::make_shared<const std::string>(what + ", " + std::to_string(bytes) + " bytes," +
                                               where);
}

}  // namespace

EXPORTED Result cuMemcpyAsync(Address dst, Address src, std::size_t bytes, StreamHandle stream) {
    return in_context("cuMemcpyAsync", [&](Call& call) {
        if (bytes == 0) return find_stream(call, stream) == nullptr ? invalid_handle : success;
        const auto to = find_place(call, dst, bytes);
        const auto from = find_place(call, src, bytes);
        if (!to || !from) return invalid_value;
        Operation operation{.what =
                                describe(std::string("copy from ") + from->name + " to " + to->name,
                                         bytes, stream)};
        if (from->is_pageable) {
            // The driver takes what is there now; the program may change it when the call is over.
            operation.run = [to = to->alias,
                             taken = std::vector<std::byte>(from->alias, from->alias + bytes)] {
                std::memcpy(to, taken.data(), taken.size());
                return success;
            };
        } else {
            operation.accesses.push_back({src, bytes, false});
            operation.run = [to = to->alias, from = from->alias, bytes] {
                std::memmove(to, from, bytes);
                return success;
            };
        }
        if (!to->is_pageable) operation.accesses.push_back({dst, bytes, true});
        const auto [result, ending] = put(call, stream, std::move(operation));
        if (result != success || !to->is_pageable) return result;
        call.machine.wait_for(call.lock, ending);
        return call.context->sticky;
    });
}

EXPORTED Result cuMemsetD8Async(Address dst, unsigned char value, std::size_t bytes,
                                StreamHandle stream) {
    return in_context("cuMemsetD8Async", [&](Call& call) {
        if (bytes == 0) return find_stream(call, stream) == nullptr ? invalid_handle : success;
        const auto to = find_place(call, dst, bytes);
        if (!to || to->is_pageable) return invalid_value;
        return put(call, stream,
                   {.what = describe(std::string("fill of ") + to->name, bytes, stream),
                    .accesses = {{dst, bytes, true}},
                    .run =
                        [to = to->alias, value, bytes] {
                            std::memset(to, value, bytes);
                            return success;
                        }})
            .first;
    });
}
