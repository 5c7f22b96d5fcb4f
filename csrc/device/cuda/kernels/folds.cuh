#pragma once

#include <cstdint>

// All folds: X(op, dtype, format, operation), with op and dtype in the words of their names. Signed
// and unsigned integers differ in order and division only: the others fold as unsigned ones, whose
// wrap-around is defined.

#define PYCOLL_FLOAT_FOLDS(X, dtype, format) \
    X(sum, dtype, format, Sum)               \
    X(avg, dtype, format, Avg)               \
    X(prod, dtype, format, Prod)             \
    X(min, dtype, format, Min)               \
    X(max, dtype, format, Max)

#define PYCOLL_INTEGER_FOLDS(X, dtype, format, unsigned_format) \
    X(sum, dtype, unsigned_format, Sum)                         \
    X(avg, dtype, format, Avg)                                  \
    X(prod, dtype, unsigned_format, Prod)                       \
    X(min, dtype, format, Min)                                  \
    X(max, dtype, format, Max)                                  \
    X(band, dtype, unsigned_format, And)                        \
    X(bor, dtype, unsigned_format, Or)                          \
    X(bxor, dtype, unsigned_format, Xor)

#define PYCOLL_FOLDS(X)                                                         \
    X(min, bool, Bool, And)                                                     \
    X(max, bool, Bool, Or)                                                      \
    X(band, bool, Bool, And)                                                    \
    X(bor, bool, Bool, Or)                                                      \
    X(bxor, bool, Bool, Xor)                                                    \
    PYCOLL_INTEGER_FOLDS(X, int8, Plain<std::int8_t>, Plain<std::uint8_t>)      \
    PYCOLL_INTEGER_FOLDS(X, int16, Plain<std::int16_t>, Plain<std::uint16_t>)   \
    PYCOLL_INTEGER_FOLDS(X, int32, Plain<std::int32_t>, Plain<std::uint32_t>)   \
    PYCOLL_INTEGER_FOLDS(X, int64, Plain<std::int64_t>, Plain<std::uint64_t>)   \
    PYCOLL_INTEGER_FOLDS(X, uint8, Plain<std::uint8_t>, Plain<std::uint8_t>)    \
    PYCOLL_INTEGER_FOLDS(X, uint16, Plain<std::uint16_t>, Plain<std::uint16_t>) \
    PYCOLL_INTEGER_FOLDS(X, uint32, Plain<std::uint32_t>, Plain<std::uint32_t>) \
    PYCOLL_INTEGER_FOLDS(X, uint64, Plain<std::uint64_t>, Plain<std::uint64_t>) \
    PYCOLL_FLOAT_FOLDS(X, float16, Float16)                                     \
    PYCOLL_FLOAT_FOLDS(X, bfloat16, BFloat16)                                   \
    PYCOLL_FLOAT_FOLDS(X, float32, Plain<float>)                                \
    PYCOLL_FLOAT_FOLDS(X, float64, Plain<double>)
