// Compares what pycoll declares of the driver's interface with the toolkit's header. Compiling it
// is the check: each function has as many parameters as there, of the same kinds and sizes, and
// each constant the same value. CUDA_FUNCTIONS names a file with SAME(member, symbol) for each
// function.

#include <cuda.h>

#include <type_traits>

#include "device/cuda/driver.hpp"

namespace pycoll::cuda {
namespace {

template <typename Ours, typename Theirs>
constexpr bool alike() {
    if constexpr (std::is_same_v<std::remove_cv_t<Ours>, std::remove_cv_t<Theirs>>) {
        return true;
    } else if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>) {
        return alike<std::remove_pointer_t<Ours>, std::remove_pointer_t<Theirs>>();
    } else if constexpr (std::is_pointer_v<Ours> || std::is_pointer_v<Theirs> ||
                         std::is_void_v<Ours> || std::is_void_v<Theirs>) {
        return false;
    } else {
        return sizeof(Ours) == sizeof(Theirs) && std::is_class_v<Ours> == std::is_class_v<Theirs>;
    }
}

template <typename Ours, typename Theirs>
struct Same : std::false_type {};

template <typename Our, typename... Ours, typename Their, typename... Theirs>
    requires(sizeof...(Ours) == sizeof...(Theirs))
struct Same<Our (*)(Ours...), Their (*)(Theirs...)>
    : std::bool_constant<alike<Our, Their>() && (alike<Ours, Theirs>() && ...)> {};

#define SAME(member, symbol)                                             \
    static_assert(Same<decltype(Driver::member), decltype(&::symbol)>(), \
                  #symbol " is declared differently in cuda.h");
#include CUDA_FUNCTIONS
#undef SAME

#define SAME(constant, theirs)                                                        \
    static_assert(static_cast<long long>(constant) == static_cast<long long>(theirs), \
                  #theirs " has another value in cuda.h");
SAME(success, CUDA_SUCCESS)
SAME(out_of_memory, CUDA_ERROR_OUT_OF_MEMORY)
SAME(not_found, CUDA_ERROR_NOT_FOUND)
SAME(not_ready, CUDA_ERROR_NOT_READY)
SAME(attribute_multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
SAME(attribute_major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
SAME(attribute_minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
SAME(pointer_memory_type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE)
SAME(pointer_is_managed, CU_POINTER_ATTRIBUTE_IS_MANAGED)
SAME(pointer_device, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
SAME(memory_of_device, CU_MEMORYTYPE_DEVICE)
SAME(stream_non_blocking, CU_STREAM_NON_BLOCKING)
SAME(event_without_timing, CU_EVENT_DISABLE_TIMING)
SAME(wait_value_at_least, CU_STREAM_WAIT_VALUE_GEQ)
SAME(host_memory_portable, CU_MEMHOSTALLOC_PORTABLE)
SAME(host_memory_mapped, CU_MEMHOSTALLOC_DEVICEMAP)
SAME(ipc_lazy_peer_access, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS)
SAME(capture_none, CU_STREAM_CAPTURE_STATUS_NONE)
SAME(capture_mode_relaxed, CU_STREAM_CAPTURE_MODE_RELAXED)
#undef SAME

}  // namespace
}  // namespace pycoll::cuda
