// The operations, the loop, and the table of all folds of a variant.
//
// Included into the namespace of a variant, after lanes.inl and a `Float16`. All vectors are
// explicit, so that the code does not depend on what the optimiser vectorises at which level.
//
// No operation feeds a product into a sum, so there is nothing a compiler could contract to a fused
// multiply-add, which would round differently from one CPU to the next.

struct Sum {
    template <typename T>
    static Vector<T> fold(Vector<T> a, Vector<T> b) {
        return a + b;
    }
};

struct Prod {
    template <typename T>
    static Vector<T> fold(Vector<T> a, Vector<T> b) {
        return a * b;
    }
};

struct Min {
    template <typename T>
    static Vector<T> fold(Vector<T> a, Vector<T> b) {
        if constexpr (std::is_floating_point_v<T>) {
            // The two choices differ only for -0 and +0, where `or` makes -0, and for a NaN and a
            // number, where `or` makes a NaN.
            const Vector<T> one = a < b ? a : b;
            const Vector<T> other = b < a ? b : a;
            return reinterpret_cast<Vector<T>>(reinterpret_cast<Bits<T>>(one) |
                                               reinterpret_cast<Bits<T>>(other));
        } else {
            return a < b ? a : b;
        }
    }
};

struct Max {
    template <typename T>
    static Vector<T> fold(Vector<T> a, Vector<T> b) {
        if constexpr (std::is_floating_point_v<T>) {
            return -Min::fold<T>(-a, -b);
        } else {
            return a > b ? a : b;
        }
    }
};

struct And {
    template <typename T>
    static Vector<T> fold(Vector<T> a, Vector<T> b) {
        return a & b;
    }
};

struct Or {
    template <typename T>
    static Vector<T> fold(Vector<T> a, Vector<T> b) {
        return a | b;
    }
};

struct Xor {
    template <typename T>
    static Vector<T> fold(Vector<T> a, Vector<T> b) {
        return a ^ b;
    }
};

template <typename Op, typename T>
inline Vector<T> folded(Vector<T> a, Vector<T> b) {
    return Op::template fold<T>(a, b);
}

template <typename Op, typename T>
inline Pair folded(Pair a, Pair b) {
    return {Op::template fold<T>(a.first, b.first), Op::template fold<T>(a.second, b.second)};
}

template <typename T>
inline Vector<T> divided(Vector<T> v, T divisor) {
    return v / divisor;
}

template <typename T>
inline Pair divided(Pair v, T divisor) {
    return {v.first / divisor, v.second / divisor};
}

/// Access to `width` bytes of a buffer.
template <typename Format>
struct Whole {
    auto get(const std::byte* from) const { return Format::decode(from); }

    void put(std::byte* to, Bytes bytes) const { store(to, bytes); }
};

/// Access to fewer, at the ends of a buffer: by way of a whole vector, so that an element's result
/// does not depend on where in the buffer it is.
template <typename Format>
struct Part {
    std::size_t bytes;

    auto get(const std::byte* from) const {
        std::byte padded[width] = {};
        __builtin_memcpy(padded, from, bytes);
        return Format::decode(padded);
    }

    void put(std::byte* to, Bytes whole) const {
        std::byte padded[width];
        store(padded, whole);
        __builtin_memcpy(to, padded, bytes);
    }
};

/// More streams than the prefetchers of a core follow are fetched by hand. 32 sources of 8 MiB,
/// EPYC (Zen 5), GB/s read: bf16 with AVX-512 17 without and 26 with, f32 with AVX2 24 and 29; 8
/// sources and fewer do not gain. 1 or 2 KiB ahead is no better than 512 bytes.
constexpr std::size_t streams_followed = 8;
constexpr std::size_t fetched_ahead = 512;

inline void fetch_ahead(const std::byte* src, std::size_t bytes) {
    // As a number, for the address may lie behind the buffer's end, where a pointer must not.
    const std::uintptr_t from = reinterpret_cast<std::uintptr_t>(src) + fetched_ahead;
    for (std::size_t line = 0; line < bytes; line += 64) {
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        __builtin_prefetch(reinterpret_cast<const void*>(from + line));
    }
}

/// Folds sizeof...(i) vectors of all sources, starting at byte `at`, in registers.
template <typename Format, typename Op, typename Access, std::size_t... i>
inline void fold_vectors(Access access, const Operands& operands, std::size_t at,
                         std::index_sequence<i...>) {
    using Lane = typename Format::Lane;
    const std::byte* src = static_cast<const std::byte*>(operands.srcs[0]) + at;
    decltype(access.get(src)) values[] = {access.get(src + i * width)...};
    for (std::size_t s = 1; s < operands.sources; ++s) {
        src = static_cast<const std::byte*>(operands.srcs[s]) + at;
        if (operands.sources > streams_followed) fetch_ahead(src, sizeof...(i) * width);
        ((values[i] = folded<Op, Lane>(values[i], access.get(src + i * width))), ...);
    }
    if constexpr (std::is_same_v<Op, Sum> && std::is_floating_point_v<Lane>) {
        if (operands.divisor != 1) {
            ((values[i] = divided<Lane>(values[i], static_cast<Lane>(operands.divisor))), ...);
        }
    }
    const Bytes results[] = {Format::encode(values[i])...};
    for (std::size_t d = 0; d < operands.destinations; ++d) {
        std::byte* const dst = static_cast<std::byte*>(operands.dsts[d]) + at;
        (access.put(dst + i * width, results[i]), ...);
    }
}

template <typename Format, typename Op>
void fold(const Operands operands, std::size_t bytes) {
    constexpr Whole<Format> whole;
    std::size_t at = 0;
    // NumPy's large arrays start 16 bytes behind a multiple of 64, so that every vector of AVX-512
    // would cross a cache line: f32 sums of 16 KiB at 70 GB/s of result, and at 100 when they are
    // brought to a multiple first; of 256 KiB at 54 and 85 (Zen 5). The partial vector costs some
    // 10 ns, which 16 vectors save.
    const std::size_t ahead = -reinterpret_cast<std::uintptr_t>(operands.dsts[0]) % width;
    if (ahead > 0 && ahead % Format::element == 0 && bytes >= 16 * width) {
        fold_vectors<Format, Op>(Part<Format>{ahead}, operands, at, std::index_sequence<0>{});
        at = ahead;
    }
    // Four vectors hide the latency of the operations; eight were no faster (Zen 5).
    for (; bytes - at >= 4 * width; at += 4 * width) {
        fold_vectors<Format, Op>(whole, operands, at, std::index_sequence<0, 1, 2, 3>{});
    }
    for (; bytes - at >= width; at += width) {
        fold_vectors<Format, Op>(whole, operands, at, std::index_sequence<0>{});
    }
    if (at < bytes) {
        fold_vectors<Format, Op>(Part<Format>{bytes - at}, operands, at, std::index_sequence<0>{});
    }
}

constexpr Fold& entry(Kernels& kernels, ReduceOp op, DType dtype) {
    return kernels.folds[static_cast<std::size_t>(op)][static_cast<std::size_t>(dtype)];
}

template <typename Format>
constexpr void add_arithmetic(Kernels& kernels, DType dtype) {
    entry(kernels, ReduceOp::sum, dtype) = fold<Format, Sum>;
    entry(kernels, ReduceOp::avg, dtype) = fold<Format, Sum>;
    entry(kernels, ReduceOp::prod, dtype) = fold<Format, Prod>;
    entry(kernels, ReduceOp::min, dtype) = fold<Format, Min>;
    entry(kernels, ReduceOp::max, dtype) = fold<Format, Max>;
}

template <typename Format>
constexpr void add_bitwise(Kernels& kernels, DType dtype) {
    entry(kernels, ReduceOp::band, dtype) = fold<Format, And>;
    entry(kernels, ReduceOp::bor, dtype) = fold<Format, Or>;
    entry(kernels, ReduceOp::bxor, dtype) = fold<Format, Xor>;
}

/// Signed and unsigned integers differ in their order only: the others fold as unsigned ones, whose
/// wrap-around is defined.
template <typename Signed, typename Unsigned>
constexpr void add_integers(Kernels& kernels, DType with_sign, DType without) {
    add_arithmetic<Plain<Unsigned>>(kernels, without);
    add_arithmetic<Plain<Unsigned>>(kernels, with_sign);
    entry(kernels, ReduceOp::min, with_sign) = fold<Plain<Signed>, Min>;
    entry(kernels, ReduceOp::max, with_sign) = fold<Plain<Signed>, Max>;
    add_bitwise<Plain<std::uint8_t>>(kernels, without);
    add_bitwise<Plain<std::uint8_t>>(kernels, with_sign);
}

constexpr Kernels make_kernels(const char* instruction_set) {
    Kernels kernels{instruction_set, {}};
    add_integers<std::int8_t, std::uint8_t>(kernels, DType::i8, DType::u8);
    add_integers<std::int16_t, std::uint16_t>(kernels, DType::i16, DType::u16);
    add_integers<std::int32_t, std::uint32_t>(kernels, DType::i32, DType::u32);
    add_integers<std::int64_t, std::uint64_t>(kernels, DType::i64, DType::u64);
    add_arithmetic<Float16>(kernels, DType::f16);
    add_arithmetic<BFloat16>(kernels, DType::bf16);
    add_arithmetic<Plain<float>>(kernels, DType::f32);
    add_arithmetic<Plain<double>>(kernels, DType::f64);
    add_bitwise<Bool>(kernels, DType::boolean);
    entry(kernels, ReduceOp::min, DType::boolean) = fold<Bool, And>;
    entry(kernels, ReduceOp::max, DType::boolean) = fold<Bool, Or>;
    return kernels;
}
