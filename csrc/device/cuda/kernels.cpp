#include "device/cuda/kernels.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "device/cuda/fold_arguments.hpp"

namespace pycoll::cuda {
namespace {

// Eight blocks of 256 are the 2048 threads that a multiprocessor holds at most. The kernels' 31 to
// 64 registers leave room for 4 to 8 of them at a time; blocks that find none wait their turn.
constexpr unsigned block_threads = 256;
constexpr unsigned blocks_per_multiprocessor = 8;

constexpr std::uintptr_t vector_bytes = 16;

Function find(const Driver& driver, Module module, ReduceOp op, DType dtype) {
    const std::string kernel = "fold_" + std::string(name(op)) + "_" + std::string(name(dtype));
    Function function = nullptr;
    driver.require(driver.find_function(&function, module, kernel.c_str()), "cuModuleGetFunction");
    return function;
}

Module load(const Driver& driver, int ordinal) {
    const std::span<const std::byte> image = kernel_image();
    if (image.empty()) {
        throw CudaError(
            "this build of pycoll has no CUDA kernels; install it again where there is nvcc "
            "(PATH, CUDA_HOME, or 'pip install nvidia-cuda-nvcc'), with PYCOLL_CUDA=1");
    }
    Module module = nullptr;
    try {
        driver.require(driver.load_module(&module, image.data()), "cuModuleLoadData");
    } catch (const CudaError& error) {
        std::string built;
        for (const std::string_view architecture : architectures()) {
            built += " " + std::string(architecture);
        }
        throw CudaError(std::string(error.what()) + ": GPU " + std::to_string(ordinal) +
                            " cannot load pycoll's kernels, which were compiled for" + built,
                        error.code);
    }
    return module;
}

/// The remainders modulo 16 in which any of the buffers differ from `dst`.
std::uintptr_t differences(const void* dst, std::span<const void* const> srcs) {
    std::uintptr_t differing = 0;
    for (const void* src : srcs) {
        differing |= reinterpret_cast<std::uintptr_t>(src) ^ reinterpret_cast<std::uintptr_t>(dst);
    }
    return differing % vector_bytes;
}

void check(DType dtype, ReduceOp op, const void* dst, std::span<const void* const> srcs,
           std::size_t size) {
    if (!supports(op, dtype)) {
        throw CudaError(std::string(name(op)) + " does not fold " + std::string(name(dtype)));
    }
    if (srcs.empty() || srcs.size() > most_sources) {
        throw CudaError("a fold of " + std::to_string(srcs.size()) +
                        " sources on a GPU; it takes from 1 to " + std::to_string(most_sources));
    }
    if (size > std::numeric_limits<std::int32_t>::max()) {
        throw CudaError("an average over " + std::to_string(size) + " ranks on a GPU");
    }
    const std::uintptr_t any = reinterpret_cast<std::uintptr_t>(dst) | differences(dst, srcs);
    if (any % size_of(dtype) != 0) {
        throw CudaError("a buffer on a GPU that is not aligned to its elements of " +
                        std::to_string(size_of(dtype)) + " bytes");
    }
}

}  // namespace

Kernels::Kernels(const Driver& driver, int ordinal) : driver_(driver) {
    int device = 0;
    driver_.require(driver_.device(&device, ordinal), "cuDeviceGet");
    int multiprocessors = 0;
    driver_.require(driver_.device_attribute(&multiprocessors, attribute_multiprocessors, device),
                    "cuDeviceGetAttribute");
    most_blocks_ = static_cast<unsigned>(multiprocessors) * blocks_per_multiprocessor;

    module_ = load(driver_, ordinal);
    try {
        for (std::size_t op = 0; op < folds_.size(); ++op) {
            for (std::size_t dtype = 0; dtype < folds_[op].size(); ++dtype) {
                const auto as_op = static_cast<ReduceOp>(op);
                const auto as_dtype = static_cast<DType>(dtype);
                if (!supports(as_op, as_dtype)) continue;
                folds_[op][dtype] = find(driver_, module_, as_op, as_dtype);
            }
        }
    } catch (...) {
        driver_.unload_module(module_);
        throw;
    }
}

Kernels::~Kernels() { driver_.unload_module(module_); }

void Kernels::fold(Stream stream, DType dtype, ReduceOp op, void* dst,
                   std::span<const void* const> srcs, std::uint64_t count, std::size_t size,
                   bool finish) const {
    if (count == 0) return;
    check(dtype, op, dst, srcs, size);

    const bool divides = finish && op == ReduceOp::avg && size > 1;
    FoldArguments arguments{};
    arguments.dst = dst;
    arguments.count = count;
    arguments.divisor = divides ? static_cast<std::uint32_t>(size) : 1;
    arguments.sources = static_cast<std::uint32_t>(srcs.size());
    std::ranges::copy(srcs, arguments.srcs);

    // What a thread does at a time: a vector, or one element where the buffers do not lie alike.
    const std::uint64_t at_a_time = differences(dst, srcs) == 0 ? vector_bytes / size_of(dtype) : 1;
    const std::uint64_t per_block = block_threads * at_a_time;
    const std::uint64_t blocks = std::min<std::uint64_t>(count / per_block + 1, most_blocks_);
    void* parameters[] = {&arguments};
    driver_.require(
        driver_.launch(folds_[static_cast<std::size_t>(op)][static_cast<std::size_t>(dtype)],
                       static_cast<unsigned>(blocks), 1, 1, block_threads, 1, 1, 0, stream,
                       parameters, nullptr),
        "cuLaunchKernel");
}

}  // namespace pycoll::cuda
