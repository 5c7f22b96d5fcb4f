#include "device/cuda/kernels.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "cuda/image.hpp"
#include "cuda/kernels_on_cpu.hpp"
#include "device/cuda/fold_arguments.hpp"
#include "device/host/reduce.hpp"
#include "device_operands.hpp"

// Which kernels are launched, how, and with what: on a driver of a few functions.

namespace pycoll::test::device_cuda_kernels {
namespace {

/// What the driver below was told, and what it is to answer.
struct Told {
    std::vector<std::string> names = {};
    unsigned blocks = 0;
    unsigned threads = 0;
    cuda::Stream stream = nullptr;
    std::string launched = {};
    cuda::FoldArguments arguments = {};
    int launches = 0;
    int unloaded = 0;
    cuda::Result load_result = cuda::success;
    std::string missing = {};
};
Told told;

constexpr int multiprocessors = 4;

/// One GPU, of number 5, that runs kernels on the CPU at once.
cuda::Driver a_driver() {
    told = {};
    cuda::Driver driver;
    driver.error_name = [](cuda::Result, const char** name) {
        *name = "CUDA_ERROR_NO_BINARY_FOR_GPU";
        return cuda::success;
    };
    driver.error_text = [](cuda::Result, const char**) { return cuda::success; };
    driver.device = [](int* device, int ordinal) {
        *device = ordinal + 1;
        return ordinal == 5 ? cuda::success : 101;
    };
    driver.device_attribute = [](int* value, int attribute, int device) {
        check_equal(device, 6);
        check_equal(attribute, cuda::attribute_multiprocessors);
        *value = multiprocessors;
        return cuda::success;
    };
    driver.load_module = [](cuda::Module* module, const void* image) {
        check(image == cuda::kernel_image().data());
        *module = reinterpret_cast<cuda::Module>(&told);
        return told.load_result;
    };
    driver.unload_module = [](cuda::Module) {
        ++told.unloaded;
        return cuda::success;
    };
    driver.find_function = [](cuda::Function* function, cuda::Module, const char* name) {
        if (told.missing == name) return cuda::not_found;
        told.names.emplace_back(name);
        *function = reinterpret_cast<cuda::Function>(told.names.size());
        return cuda::success;
    };
    driver.launch = [](cuda::Function function, unsigned blocks, unsigned, unsigned,
                       unsigned threads, unsigned, unsigned, unsigned, cuda::Stream stream,
                       void** parameters, void**) {
        ++told.launches;
        told.blocks = blocks;
        told.threads = threads;
        told.stream = stream;
        told.launched = told.names.at(reinterpret_cast<std::size_t>(function) - 1);
        told.arguments = *static_cast<cuda::FoldArguments*>(parameters[0]);
        check(run_kernel_on_cpu(told.launched.c_str(), blocks, threads, told.arguments));
        return cuda::success;
    };
    return driver;
}

const Test folds("cuda kernels: every op and dtype is launched as its kernel, with the host's bits",
                 [] {
                     const cuda::Driver driver = a_driver();
                     const cuda::Kernels kernels(driver, 5);
                     check_equal(told.names.size(), 89U, "kernels");
                     for (std::size_t d = 0; d < dtype_names.size(); ++d) {
                         for (std::size_t o = 0; o < reduce_op_names.size(); ++o) {
                             const auto dtype = static_cast<DType>(d);
                             const auto op = static_cast<ReduceOp>(o);
                             if (!supports(op, dtype)) continue;
                             constexpr std::size_t count = 5000;
                             Values values(dtype, 1);
                             std::vector<Elements> srcs(3, Elements(dtype, count, 0));
                             std::vector<const void*> from;
                             for (Elements& src : srcs) {
                                 for (std::size_t i = 0; i < count; ++i) src.set(i, values.next());
                                 from.push_back(src.data());
                             }
                             Elements expected(dtype, count, 0);
                             void* const to[] = {expected.data()};
                             host::reduce_many(dtype, op, to, from, count, 3, true);
                             Elements result(dtype, count, 0);
                             const auto stream = reinterpret_cast<cuda::Stream>(&result);
                             kernels.fold(stream, dtype, op, result.data(), from, count, 3, true);
                             check_equal(told.launched, "fold_" + std::string(name(op)) + "_" +
                                                            std::string(name(dtype)));
                             check(told.stream == stream, "the stream");
                             for (std::size_t i = 0; i < count; ++i) {
                                 check_equal(result.get(i), expected.get(i), told.launched);
                             }
                         }
                     }
                 });

const Test division("cuda kernels: only the last fold of an average divides", [] {
    const cuda::Driver driver = a_driver();
    const cuda::Kernels kernels(driver, 5);
    std::int32_t value = 7;
    const void* const srcs[] = {&value, &value};
    kernels.fold(nullptr, DType::i32, ReduceOp::avg, &value, srcs, 1, 2, false);
    check_equal(value, 14);
    kernels.fold(nullptr, DType::i32, ReduceOp::avg, &value, srcs, 1, 4, true);
    check_equal(value, 7);
    kernels.fold(nullptr, DType::i32, ReduceOp::sum, &value, srcs, 1, 4, true);
    check_equal(value, 14);
});

const Test shapes("cuda kernels: as many threads as there is work for, up to the GPU's", [] {
    const cuda::Driver driver = a_driver();
    const cuda::Kernels kernels(driver, 5);
    std::vector<float> values(100'000);
    const auto blocks_for = [&](std::size_t from, std::size_t to, std::uint64_t count) {
        const void* const srcs[] = {&values[from]};
        kernels.fold(nullptr, DType::f32, ReduceOp::sum, &values[to], srcs, count, 1, true);
        check_equal(told.threads, 256U);
        return told.blocks;
    };
    check_equal(blocks_for(0, 0, 1), 1U);
    check_equal(blocks_for(0, 0, 4 * 256), 2U, "vectors");
    check_equal(blocks_for(0, 1, 4 * 256), 5U, "elements, where the buffers do not lie alike");
    check_equal(blocks_for(0, 0, 100'000), 8U * multiprocessors);
    blocks_for(0, 0, 0);
    check_equal(told.launches, 4, "nothing to do is no launch");
});

const Test refusals("cuda kernels: what no kernel can do is refused before a launch", [] {
    const cuda::Driver driver = a_driver();
    const cuda::Kernels kernels(driver, 5);
    double values[2] = {};
    const auto fold = [&](ReduceOp op, const void* src, std::size_t sources, std::size_t size) {
        const std::vector<const void*> srcs(sources, src);
        kernels.fold(nullptr, DType::f64, op, &values[0], srcs, 1, size, true);
    };
    check_throws<cuda::CudaError>([&] { fold(ReduceOp::sum, &values, 129, 1); },
                                  "a fold of 129 sources on a GPU; it takes from 1 to 128");
    check_throws<cuda::CudaError>([&] { fold(ReduceOp::sum, &values, 0, 1); }, "of 0 sources");
    check_throws<cuda::CudaError>([&] { fold(ReduceOp::bor, &values, 1, 1); },
                                  "bor does not fold float64");
    check_throws<cuda::CudaError>(
        [&] { fold(ReduceOp::sum, reinterpret_cast<std::byte*>(&values) + 4, 1, 1); },
        "not aligned to its elements of 8 bytes");
    check_throws<cuda::CudaError>([&] { fold(ReduceOp::avg, &values, 1, 1ULL << 31); },
                                  "2147483648 ranks");
    check_equal(told.launches, 0);
});

const Test loading("cuda kernels: a GPU that cannot load them is told what they were built for",
                   [] {
                       const cuda::Driver driver = a_driver();
                       told.load_result = 209;
                       check_throws<cuda::CudaError>(
                           [&] { const cuda::Kernels kernels(driver, 5); },
                           "CUDA_ERROR_NO_BINARY_FOR_GPU: GPU 5 cannot load pycoll's "
                           "kernels, which were compiled for sm_90 compute_90");
                       check_throws<cuda::CudaError>(
                           [&] { const cuda::Kernels kernels(driver, 7); }, "cuDeviceGet");
                       check_equal(told.unloaded, 0);
                   });

const Test without("cuda kernels: a build without kernels says how to get them", [] {
    const cuda::Driver driver = a_driver();
    build_has_kernels = false;
    check_throws<cuda::CudaError>([&] { const cuda::Kernels kernels(driver, 5); },
                                  "this build of pycoll has no CUDA kernels");
    build_has_kernels = true;
});

const Test lifetime("cuda kernels: are unloaded once, also when one of them is missing", [] {
    const cuda::Driver driver = a_driver();
    {
        const cuda::Kernels kernels(driver, 5);
    }
    check_equal(told.unloaded, 1);
    told.missing = "fold_max_bool";
    check_throws<cuda::CudaError>([&] { const cuda::Kernels kernels(driver, 5); },
                                  "cuModuleGetFunction");
    check_equal(told.unloaded, 2);
});

}  // namespace
}  // namespace pycoll::test::device_cuda_kernels
