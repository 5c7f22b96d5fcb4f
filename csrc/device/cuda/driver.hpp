#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

// As the CUDA headers name them, so that both can be included side by side.
struct CUctx_st;
struct CUevent_st;
struct CUfunc_st;
struct CUmod_st;
struct CUstream_st;

/// The part of the CUDA driver's interface that pycoll uses, declared by itself: the library is
/// loaded when it is first needed, so that one build runs with and without a GPU, and is compiled
/// with and without a CUDA toolkit. tests/cuda/interface.cpp compares it with the toolkit's header.
namespace pycoll::cuda {

using Result = int;
using Address = unsigned long long;
using Context = CUctx_st*;
using Event = CUevent_st*;
using Function = CUfunc_st*;
using Module = CUmod_st*;
using Stream = CUstream_st*;
struct IpcHandle {
    std::array<char, 64> bytes;
};
struct Uuid {
    std::array<char, 16> bytes;
    bool operator==(const Uuid&) const = default;
};

inline constexpr Result success = 0;
inline constexpr Result out_of_memory = 2;
inline constexpr Result invalid_context = 201;
inline constexpr Result not_found = 500;
inline constexpr Result not_ready = 600;
inline constexpr Result stream_capture_unsupported = 900;

inline constexpr int attribute_multiprocessors = 16;
inline constexpr int attribute_major = 75;
inline constexpr int attribute_minor = 76;

inline constexpr int pointer_memory_type = 2;
inline constexpr int pointer_is_managed = 8;
inline constexpr int pointer_device = 9;
inline constexpr unsigned memory_of_device = 2;

inline constexpr unsigned stream_non_blocking = 1;
inline constexpr unsigned event_without_timing = 2;
inline constexpr unsigned wait_value_at_least = 0;
inline constexpr unsigned host_memory_portable = 1;
inline constexpr unsigned host_memory_mapped = 2;
inline constexpr unsigned ipc_lazy_peer_access = 1;
inline constexpr int capture_none = 0;
inline constexpr int capture_mode_relaxed = 2;

/// X(name, symbol, parameter types...)
#define PYCOLL_CUDA_FUNCTIONS(X)                                                            \
    X(init, "cuInit", unsigned)                                                             \
    X(driver_version, "cuDriverGetVersion", int*)                                           \
    X(error_name, "cuGetErrorName", Result, const char**)                                   \
    X(error_text, "cuGetErrorString", Result, const char**)                                 \
    X(device_count, "cuDeviceGetCount", int*)                                               \
    X(device, "cuDeviceGet", int*, int)                                                     \
    X(device_name, "cuDeviceGetName", char*, int, int)                                      \
    X(device_uuid, "cuDeviceGetUuid_v2", Uuid*, int)                                        \
    X(device_attribute, "cuDeviceGetAttribute", int*, int, int)                             \
    X(can_access_peer, "cuDeviceCanAccessPeer", int*, int, int)                             \
    X(retain_context, "cuDevicePrimaryCtxRetain", Context*, int)                            \
    X(release_context, "cuDevicePrimaryCtxRelease_v2", int)                                 \
    X(push_context, "cuCtxPushCurrent_v2", Context)                                         \
    X(pop_context, "cuCtxPopCurrent_v2", Context*)                                          \
    X(current_device, "cuCtxGetDevice", int*)                                               \
    X(priority_range, "cuCtxGetStreamPriorityRange", int*, int*)                            \
    X(synchronize, "cuCtxSynchronize", void)                                                \
    X(exchange_capture_mode, "cuThreadExchangeStreamCaptureMode", int*)                     \
    X(allocate, "cuMemAlloc_v2", Address*, std::size_t)                                     \
    X(free, "cuMemFree_v2", Address)                                                        \
    X(allocate_host, "cuMemHostAlloc", void**, std::size_t, unsigned)                       \
    X(free_host, "cuMemFreeHost", void*)                                                    \
    X(host_address, "cuMemHostGetDevicePointer_v2", Address*, void*, unsigned)              \
    X(pointer_attribute, "cuPointerGetAttribute", void*, int, Address)                      \
    X(copy, "cuMemcpyAsync", Address, Address, std::size_t, Stream)                         \
    X(fill, "cuMemsetD8Async", Address, unsigned char, std::size_t, Stream)                 \
    X(ipc_handle, "cuIpcGetMemHandle", IpcHandle*, Address)                                 \
    X(open_ipc, "cuIpcOpenMemHandle_v2", Address*, IpcHandle, unsigned)                     \
    X(close_ipc, "cuIpcCloseMemHandle", Address)                                            \
    X(create_stream, "cuStreamCreateWithPriority", Stream*, unsigned, int)                  \
    X(destroy_stream, "cuStreamDestroy_v2", Stream)                                         \
    X(synchronize_stream, "cuStreamSynchronize", Stream)                                    \
    X(stream_priority, "cuStreamGetPriority", Stream, int*)                                 \
    X(stream_is_capturing, "cuStreamIsCapturing", Stream, int*)                             \
    X(wait_event, "cuStreamWaitEvent", Stream, Event, unsigned)                             \
    X(wait_value, "cuStreamWaitValue32_v2", Stream, Address, std::uint32_t, unsigned)       \
    X(create_event, "cuEventCreate", Event*, unsigned)                                      \
    X(destroy_event, "cuEventDestroy_v2", Event)                                            \
    X(record_event, "cuEventRecord", Event, Stream)                                         \
    X(query_event, "cuEventQuery", Event)                                                   \
    X(load_module, "cuModuleLoadData", Module*, const void*)                                \
    X(unload_module, "cuModuleUnload", Module)                                              \
    X(find_function, "cuModuleGetFunction", Function*, Module, const char*)                 \
    X(launch, "cuLaunchKernel", Function, unsigned, unsigned, unsigned, unsigned, unsigned, \
      unsigned, unsigned, Stream, void**, void**)

[[nodiscard]] inline Address address_of(const void* pointer) {
    return reinterpret_cast<Address>(pointer);
}
/// CUDA's addresses are numbers.
[[nodiscard]] inline std::byte* pointer_to(Address address) {
    return reinterpret_cast<std::byte*>(address);  // NOLINT(performance-no-int-to-ptr)
}

/// A call to CUDA failed, or there is no CUDA to call. what() has the name of CUDA's error.
struct CudaError : std::runtime_error {
    explicit CudaError(const std::string& what, Result result = 0)
        : std::runtime_error(what), code(result) {}
    Result code;
};

/// The functions of the driver. Each is as CUDA documents it; require() makes errors of results.
struct Driver {
    /// The driver of this machine, loaded at the first call.
    /// Throws CudaError when there is none, or no GPU, and says what was tried.
    static const Driver& instance();

#define PYCOLL_CUDA_MEMBER(name, symbol, ...) Result (*name)(__VA_ARGS__) = nullptr;
    PYCOLL_CUDA_FUNCTIONS(PYCOLL_CUDA_MEMBER)
#undef PYCOLL_CUDA_MEMBER

    /// Throws CudaError, "cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY (out of memory)", unless `result`
    /// is success.
    void require(Result result, const char* symbol) const;
};

}  // namespace pycoll::cuda
