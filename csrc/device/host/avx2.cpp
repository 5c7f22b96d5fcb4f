// The folds with AVX2 and F16C: x86-64 from 2013 (Haswell, Zen).

#if defined(__x86_64__)

#include "device/host/kernels.hpp"

#include <immintrin.h>

// From here to the end no inline function of others may be called or instantiated: kernels.hpp says
// why.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,f16c")
#endif

namespace pycoll::host::avx2 {
namespace {

constexpr std::size_t width = 32;

#include "device/host/lanes.inl"

struct Float16 {
    using Lane = float;
    static constexpr std::size_t element = 2;

    static Pair decode(const std::byte* from) {
        return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from))),
                _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from + 16)))};
    }

    static Bytes encode(Pair v) {
        const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(narrowed(v.first)),
                                                     narrowed(v.second), 1);
        return reinterpret_cast<Bytes>(both);
    }

private:
    static __m128i narrowed(Vector<float> v) {
        return _mm256_cvtps_ph(with_one_nan<float>(v), _MM_FROUND_TO_NEAREST_INT);
    }
};

#include "device/host/fold.inl"

}  // namespace

constinit const Kernels kernels = make_kernels("avx2");

}  // namespace pycoll::host::avx2

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
