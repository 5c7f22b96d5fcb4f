#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/dtype.hpp"

namespace pycoll {

/// The memory of a Python array, without a copy: NumPy (ml_dtypes' bfloat16 included), the buffer
/// protocol, or DLPack on the CPU.
struct ArrayView {
    void* data = nullptr;
    DType dtype = DType::u8;
    std::uint64_t count = 0;
    bool writable = false;
    /// Keeps the memory alive.
    pybind11::object owner;

    [[nodiscard]] std::span<std::byte> bytes() const {
        return {static_cast<std::byte*>(data), count * size_of(dtype)};
    }
};

/// Throws pybind11::type_error or value_error, naming `argument`, unless the object is an array
/// of a supported type in C-contiguous host memory.
[[nodiscard]] ArrayView view_array(pybind11::handle object, const char* argument);

}  // namespace pycoll
