#include "bindings/array_protocols.hpp"

namespace py = pybind11;

namespace pycoll {

void fail_type(const char* argument, const std::string& what) {
    throw py::type_error("'" + std::string(argument) + "' " + what);
}

void fail_value(const char* argument, const std::string& what) {
    throw py::value_error("'" + std::string(argument) + "' " + what);
}

void fail_contiguous(const char* argument) {
    fail_value(
        argument,
        "is not C-contiguous; pass numpy.ascontiguousarray(...) of it, or a contiguous part");
}

void fail_dtype(const char* argument, const std::string& dtype) {
    fail_type(argument, "has dtype " + dtype +
                            ", which is not supported; supported are bool, int8 to int64, uint8 "
                            "to uint64, float16, bfloat16, float32 and float64");
}

std::optional<DType> dtype_of(char kind, std::size_t size) {
    const auto by_size = [size](DType one, DType two, DType four,
                                DType eight) -> std::optional<DType> {
        switch (size) {
            case 1:
                return one;
            case 2:
                return two;
            case 4:
                return four;
            case 8:
                return eight;
            default:
                return std::nullopt;
        }
    };
    switch (kind) {
        case 'b':
            return size == 1 ? std::optional(DType::boolean) : std::nullopt;
        case 'i':
            return by_size(DType::i8, DType::i16, DType::i32, DType::i64);
        case 'u':
            return by_size(DType::u8, DType::u16, DType::u32, DType::u64);
        case 'f':
            if (size == 1) return std::nullopt;
            return by_size(DType::u8, DType::f16, DType::f32, DType::f64);
        default:
            return std::nullopt;
    }
}

cuda::Gpu& require_gpu(int ordinal, const char* argument) {
    try {
        return cuda::Gpu::at(ordinal);
    } catch (const cuda::CudaError& error) {
        throw cuda::CudaError("'" + std::string(argument) +
                                  "' lies on a GPU, which pycoll cannot use: " + error.what() +
                                  "; see docs/gpu.md",
                              error.code);
    }
}

}  // namespace pycoll
