#include <algorithm>
#include <array>

#include "exported.hpp"
#include "results.hpp"

namespace fake_cuda {
namespace {

struct Named {
    Result result;
    const char* name;
    const char* text;
};

constexpr std::array named_results = {
    Named{success, "CUDA_SUCCESS", "no error"},
    Named{invalid_value, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    Named{out_of_memory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    Named{not_initialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    Named{no_device, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    Named{invalid_device, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    Named{invalid_context, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    Named{peer_access_unsupported, "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED",
          "peer access is not supported between these two devices"},
    Named{214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    Named{operating_system, "CUDA_ERROR_OPERATING_SYSTEM",
          "OS call failed or operation not supported on this OS"},
    Named{invalid_handle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    Named{not_found, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    Named{not_ready, "CUDA_ERROR_NOT_READY", "device not ready"},
    Named{illegal_address, "CUDA_ERROR_ILLEGAL_ADDRESS",
          "an illegal memory access was encountered"},
    Named{misaligned_address, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    Named{launch_failed, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    Named{capture_unsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
          "operation not permitted when stream is capturing"},
    Named{999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

Result find(Result result, const char** answer, const char* Named::* field) {
    if (answer == nullptr) return invalid_value;
    const auto named = std::ranges::find(named_results, result, &Named::result);
    *answer = named == named_results.end() ? nullptr : (*named).*field;
    return named == named_results.end() ? invalid_value : success;
}

}  // namespace
}  // namespace fake_cuda

using fake_cuda::Result;

EXPORTED Result cuGetErrorName(Result result, const char** name) {
    return fake_cuda::find(result, name, &fake_cuda::Named::name);
}

EXPORTED Result cuGetErrorString(Result result, const char** text) {
    return fake_cuda::find(result, text, &fake_cuda::Named::text);
}
