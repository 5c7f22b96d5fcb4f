#include <array>
#include <cstdio>
#include <cstring>
#include <map>

#include "call.hpp"
#include "exported.hpp"

using namespace fake_cuda;
using pycoll::cuda::Context;
using pycoll::cuda::Uuid;

namespace {

bool is_device(const Call& call, int device) {
    return device >= 0 && static_cast<std::size_t>(device) < call.machine.contexts.size();
}

/// Null for what is none.
ContextState* find_context(const Call& call, Context handle) {
    for (const auto& context : call.machine.contexts) {
        if (reinterpret_cast<Context>(context.get()) == handle) return context.get();
    }
    return nullptr;
}

}  // namespace

EXPORTED Result cuInit(unsigned flags) {
    return anywhere("cuInit", [&](Call& call) {
        if (flags != 0) return invalid_value;
        if (call.machine.contexts.empty()) return no_device;
        call.machine.initialized = true;
        return success;
    });
}

EXPORTED Result cuDriverGetVersion(int* version) {
    return anywhere("cuDriverGetVersion", [&](Call&) {
        if (version == nullptr) return invalid_value;
        *version = 12000;
        return success;
    });
}

EXPORTED Result cuDeviceGetCount(int* count) {
    return initialized("cuDeviceGetCount", [&](Call& call) {
        if (count == nullptr) return invalid_value;
        *count = static_cast<int>(call.machine.contexts.size());
        return success;
    });
}

EXPORTED Result cuDeviceGet(int* device, int ordinal) {
    return initialized("cuDeviceGet", [&](Call& call) {
        if (device == nullptr) return invalid_value;
        if (!is_device(call, ordinal)) return invalid_device;
        *device = ordinal;
        return success;
    });
}

EXPORTED Result cuDeviceGetName(char* name, int length, int device) {
    return initialized("cuDeviceGetName", [&](Call& call) {
        if (name == nullptr || length <= 0) return invalid_value;
        if (!is_device(call, device)) return invalid_device;
        std::snprintf(name, static_cast<std::size_t>(length), "Fake GPU %d", device);
        return success;
    });
}

EXPORTED Result cuDeviceGetUuid_v2(Uuid* uuid, int device) {
    return initialized("cuDeviceGetUuid_v2", [&](Call& call) {
        if (uuid == nullptr) return invalid_value;
        if (!is_device(call, device)) return invalid_device;
        *uuid = {{'f', 'a', 'k', 'e'}};
        uuid->bytes.back() = static_cast<char>(device);
        return success;
    });
}

EXPORTED Result cuDeviceGetAttribute(int* value, int attribute, int device) {
    return initialized("cuDeviceGetAttribute", [&](Call& call) {
        // By their numbers in cuda.h: those that programs may want to know before they use memory
        // of the host, copies and kernels. All else a fake GPU does not have.
        static const std::map<int, int> values = {
            {1, 1024},        // threads per block
            {2, 1024},        // of them in x
            {5, 2147483647},  // blocks in x
            {10, 32},         // threads in a warp
            {pycoll::cuda::attribute_multiprocessors, 4},
            {19, 1},  // maps memory of the host
            {40, 2},  // engines that copy
            {41, 1},  // one address space with the host
            {pycoll::cuda::attribute_major, 9},
            {pycoll::cuda::attribute_minor, 0},
        };
        if (value == nullptr || attribute < 1) return invalid_value;
        if (!is_device(call, device)) return invalid_device;
        const auto found = values.find(attribute);
        *value = found == values.end() ? 0 : found->second;
        return success;
    });
}

EXPORTED Result cuDeviceCanAccessPeer(int* can, int device, int peer) {
    return initialized("cuDeviceCanAccessPeer", [&](Call& call) {
        if (can == nullptr) return invalid_value;
        if (!is_device(call, device) || !is_device(call, peer)) return invalid_device;
        *can = device != peer && settings().peer_access ? 1 : 0;
        return success;
    });
}

EXPORTED Result cuDevicePrimaryCtxRetain(Context* context, int device) {
    return initialized("cuDevicePrimaryCtxRetain", [&](Call& call) {
        if (context == nullptr) return invalid_value;
        if (!is_device(call, device)) return invalid_device;
        ContextState& state = *call.machine.contexts[static_cast<std::size_t>(device)];
        ++state.retained;
        *context = reinterpret_cast<Context>(&state);
        return success;
    });
}

/// What was made in the context stays when nobody retains it any more: a program that ends need
/// not be told that it leaked something.
EXPORTED Result cuDevicePrimaryCtxRelease_v2(int device) {
    return initialized("cuDevicePrimaryCtxRelease_v2", [&](Call& call) {
        if (!is_device(call, device)) return invalid_device;
        ContextState& state = *call.machine.contexts[static_cast<std::size_t>(device)];
        if (state.retained == 0) return invalid_context;
        --state.retained;
        return success;
    });
}

EXPORTED Result cuCtxPushCurrent_v2(Context context) {
    return initialized("cuCtxPushCurrent_v2", [&](Call& call) {
        ContextState* const state = find_context(call, context);
        if (state == nullptr || state->retained == 0) return invalid_context;
        return CurrentContexts::of_thread().push(state) ? success : invalid_value;
    });
}

EXPORTED Result cuCtxPopCurrent_v2(Context* context) {
    return initialized("cuCtxPopCurrent_v2", [&](Call& call) {
        if (call.context == nullptr) return invalid_context;
        if (context != nullptr) *context = reinterpret_cast<Context>(call.context);
        CurrentContexts::of_thread().pop();
        return success;
    });
}

EXPORTED Result cuCtxGetDevice(int* device) {
    return initialized("cuCtxGetDevice", [&](Call& call) {
        if (call.context == nullptr) return invalid_context;
        if (device == nullptr) return invalid_value;
        *device = call.context->device;
        return success;
    });
}

EXPORTED Result cuCtxGetStreamPriorityRange(int* lowest, int* highest) {
    return in_context("cuCtxGetStreamPriorityRange", [&](Call&) {
        if (lowest != nullptr) *lowest = 0;
        if (highest != nullptr) *highest = highest_priority;
        return success;
    });
}

EXPORTED Result cuCtxSynchronize() {
    return in_context("cuCtxSynchronize", [&](Call& call) {
        if (disturbs_capture(call)) return capture_unsupported;
        call.machine.wait_for_all(call.lock, call.context);
        return call.context->sticky;
    });
}
