#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "call.hpp"
#include "core/dtype.hpp"
#include "device/cuda/fold_arguments.hpp"
#include "exported.hpp"

/// The kernels, compiled for the CPU (kernels_on_cpu.cpp). False for a name that there is not.
extern "C" bool run_kernel_on_cpu(const char* name, unsigned grid_x, unsigned block_x,
                                  const pycoll::cuda::FoldArguments& arguments);

using namespace fake_cuda;
using pycoll::cuda::FoldArguments;
using StreamHandle = pycoll::cuda::Stream;

namespace {

/// The size of the elements of fold_<op>_<dtype>; nothing for other names.
std::optional<std::size_t> element_size(std::string_view name) {
    constexpr std::string_view prefix = "fold_";
    if (!name.starts_with(prefix)) return std::nullopt;
    const auto dtype = pycoll::parse_dtype(name.substr(name.rfind('_') + 1));
    if (!dtype) return std::nullopt;
    return pycoll::size_of(*dtype);
}

/// Where a kernel that runs in a context finds what lies at an address of its own; null for what
/// it cannot touch, as memory of another GPU that was not mapped by cuIpcOpenMemHandle.
void* find_operand(const Call& call, const void* pointer, std::size_t bytes) {
    const auto address = reinterpret_cast<Address>(pointer);
    const Allocation* const memory = find_allocation(call.machine.allocations, address);
    if (memory == nullptr || bytes > memory->bytes - (address - memory->begin)) return nullptr;
    if (memory->kind != Kind::pinned && memory->context != call.context) return nullptr;
    return memory->alias + (address - memory->begin);
}

Operation prepare(const Call& call, const FunctionState& function, unsigned grid_x,
                  unsigned block_x, FoldArguments arguments, StreamHandle stream) {
    char where[64];
    std::snprintf(where, sizeof where, ", %llu elements, on stream %p",
                  static_cast<unsigned long long>(arguments.count), static_cast<void*>(stream));
    Operation operation{.what = std::make_shared<const std::string>(function.name + where)};
    const std::size_t size = *element_size(function.name);
    const std::size_t bytes = arguments.count * size;
    Result failure = arguments.sources <= pycoll::cuda::most_sources ? success : illegal_address;
    const auto translate = [&](const void* pointer, bool writes) -> void* {
        if (bytes == 0) return nullptr;
        const auto address = reinterpret_cast<Address>(pointer);
        void* const operand = find_operand(call, pointer, bytes);
        if (operand == nullptr) failure = illegal_address;
        if (failure == success && address % size != 0) failure = misaligned_address;
        operation.accesses.push_back({address, bytes, writes});
        return operand;
    };
    for (unsigned i = 0; i < std::min(arguments.sources, pycoll::cuda::most_sources); ++i) {
        arguments.srcs[i] = translate(arguments.srcs[i], false);
    }
    arguments.dst = translate(arguments.dst, true);
    if (failure != success) {
        operation.accesses.clear();
        operation.run = [failure] { return failure; };
    } else {
        operation.run = [name = function.name, grid_x, block_x, arguments] {
            return run_kernel_on_cpu(name.c_str(), grid_x, block_x, arguments) ? success
                                                                               : launch_failed;
        };
    }
    return operation;
}

}  // namespace

EXPORTED Result cuModuleLoadData(pycoll::cuda::Module* module, const void* image) {
    return in_context("cuModuleLoadData", [&](Call& call) {
        if (module == nullptr || image == nullptr) return invalid_value;
        if (disturbs_capture(call)) return capture_unsupported;
        *module = call.machine.modules.add(
            std::make_shared<ModuleState>(ModuleState{.context = call.context}));
        return success;
    });
}

EXPORTED Result cuModuleUnload(pycoll::cuda::Module handle) {
    return releasing("cuModuleUnload", [&](Call& call) {
        const auto module = call.machine.modules.remove(handle);
        if (module == nullptr) return invalid_handle;
        call.machine.functions.remove_if(
            [&](const FunctionState& function) { return function.module == module; });
        return success;
    });
}

EXPORTED Result cuModuleGetFunction(pycoll::cuda::Function* function, pycoll::cuda::Module handle,
                                    const char* name) {
    return in_context("cuModuleGetFunction", [&](Call& call) {
        const auto module = call.machine.modules.find(handle);
        if (module == nullptr) return invalid_handle;
        if (function == nullptr || name == nullptr) return invalid_value;
        const FoldArguments nothing{
            .dst = nullptr, .count = 0, .divisor = 1, .sources = 1, .srcs = {}};
        if (!element_size(name) || !run_kernel_on_cpu(name, 1, 1, nothing)) return not_found;
        *function = call.machine.functions.add(
            std::make_shared<FunctionState>(FunctionState{.module = module, .name = name}));
        return success;
    });
}

EXPORTED Result cuLaunchKernel(pycoll::cuda::Function handle, unsigned grid_x, unsigned grid_y,
                               unsigned grid_z, unsigned block_x, unsigned block_y,
                               unsigned block_z, unsigned shared_bytes, StreamHandle stream_handle,
                               void** parameters, void** extra) {
    return in_context("cuLaunchKernel", [&](Call& call) {
        const auto function = call.machine.functions.find(handle);
        const auto stream = find_stream(call, stream_handle);
        if (function == nullptr || stream == nullptr || function->module->context != call.context ||
            &stream->context != call.context) {
            return invalid_handle;
        }
        // What kernels are launched with that there are: one dimension, no shared memory.
        constexpr unsigned most_threads = 1024;
        if (grid_x == 0 || grid_y != 1 || grid_z != 1 || block_x == 0 || block_x > most_threads ||
            block_y != 1 || block_z != 1 || shared_bytes != 0 || parameters == nullptr ||
            extra != nullptr) {
            return invalid_value;
        }
        Operation operation =
            prepare(call, *function, grid_x, block_x,
                    *static_cast<const FoldArguments*>(parameters[0]), stream_handle);
        const Result failure = call.machine.faults.call("kernel");
        if (failure != success) operation.run = [failure] { return failure; };
        if (call.machine.faults.strikes(Plant::wrong_stream)) {
            auto& stray = call.context->stray;
            if (stray == nullptr) stray = call.machine.new_stream(*call.context, false, 0);
            stray->put(std::move(operation));
            return success;
        }
        return put(call, stream_handle, std::move(operation)).first;
    });
}
