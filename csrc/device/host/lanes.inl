// Vectors of `width` bytes, and how each data type is brought into them and back.
//
// Included into the namespace of a variant, which has defined `width` (see kernels.hpp).

template <typename T>
struct VectorOf {
    using type __attribute__((vector_size(width))) = T;
    /// As it lies in memory: anywhere, and whatever the memory was declared as.
    using in_memory __attribute__((vector_size(width), aligned(1), may_alias)) = T;
};
template <typename T>
using Vector = typename VectorOf<T>::type;

template <typename T>
inline Vector<T> load(const std::byte* from) {
    return *reinterpret_cast<const typename VectorOf<T>::in_memory*>(from);
}

template <typename T>
using Bits = Vector<std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>;

/// The vector with the one NaN of results in the place of every NaN.
template <typename T>
inline Vector<T> with_one_nan(Vector<T> v) {
    const Vector<T> nan =
        Vector<T>{} + (sizeof(T) == 4 ? T(__builtin_nanf("")) : T(__builtin_nan("")));
    return v == v ? v : nan;
}

/// A vector as it lies in memory, whatever is in it.
using Bytes = Vector<std::uint32_t>;

inline void store(std::byte* to, Bytes v) {
    *reinterpret_cast<VectorOf<std::uint32_t>::in_memory*>(to) = v;
}

/// What 16-bit floating types are folded as: twice as many bytes as they take in memory.
struct Pair {
    Vector<float> first;
    Vector<float> second;
};

// A format says how `width` bytes of memory become lanes that the operations work on, and back.
// `encode` is where results get their final form; a fold decodes, folds and encodes once.

template <typename T>
struct Plain {
    using Lane = T;
    static constexpr std::size_t element = sizeof(T);

    static Vector<T> decode(const std::byte* from) { return load<T>(from); }

    static Bytes encode(Vector<T> v) {
        if constexpr (std::is_floating_point_v<T>) v = with_one_nan<T>(v);
        return reinterpret_cast<Bytes>(v);
    }
};

struct Bool {
    using Lane = std::uint8_t;
    static constexpr std::size_t element = 1;

    static Vector<Lane> decode(const std::byte* from) {
        const Vector<Lane> v = load<Lane>(from);
        return reinterpret_cast<Vector<Lane>>(v != 0) & Lane{1};
    }

    static Bytes encode(Vector<Lane> v) { return reinterpret_cast<Bytes>(v); }
};

/// Two 16-bit values share a 32-bit lane: the upper and the lower ones each become a vector, with
/// no move across lanes. (Which of the two comes first in memory does not matter.)
struct BFloat16 {
    using Lane = float;
    static constexpr std::size_t element = 2;

    static Pair decode(const std::byte* from) {
        const Vector<std::uint32_t> both = load<std::uint32_t>(from);
        return {reinterpret_cast<Vector<float>>(both << 16),
                reinterpret_cast<Vector<float>>(both & 0xffff0000U)};
    }

    static Bytes encode(Pair v) {
        return (rounded(v.first) >> 16) | (rounded(v.second) & 0xffff0000U);
    }

private:
    /// The upper half is the nearest bf16. The one NaN of f32 has an empty lower half and stays.
    static Vector<std::uint32_t> rounded(Vector<float> v) {
        const auto bits = reinterpret_cast<Vector<std::uint32_t>>(with_one_nan<float>(v));
        return bits + 0x7fffU + ((bits >> 16) & 1U);
    }
};
