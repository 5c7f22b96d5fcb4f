#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pycoll {

enum class DType : std::uint8_t {
    boolean,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
    f16,
    bf16,
    f32,
    f64,
};

/// In NumPy's words.
inline constexpr std::array<std::string_view, 13> dtype_names = {
    "bool",   "int8",   "int16",   "int32",    "int64",   "uint8",   "uint16",
    "uint32", "uint64", "float16", "bfloat16", "float32", "float64",
};
inline constexpr std::array<std::size_t, 13> dtype_sizes = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8};

[[nodiscard]] constexpr std::size_t size_of(DType dtype) {
    return dtype_sizes[static_cast<std::size_t>(dtype)];
}

[[nodiscard]] constexpr std::string_view name(DType dtype) {
    return dtype_names[static_cast<std::size_t>(dtype)];
}

[[nodiscard]] constexpr bool is_floating(DType dtype) { return dtype >= DType::f16; }

[[nodiscard]] constexpr std::optional<DType> parse_dtype(std::string_view text) {
    for (std::size_t i = 0; i < dtype_names.size(); ++i) {
        if (dtype_names[i] == text) return static_cast<DType>(i);
    }
    return std::nullopt;
}

}  // namespace pycoll
