// The folds with AVX-512 F, BW, VL and DQ: x86-64 from 2017 (Skylake-SP, Zen 4).

#if defined(__x86_64__)

#include "device/host/kernels.hpp"

#include <immintrin.h>

// From here to the end no inline function of others may be called or instantiated: kernels.hpp says
// why.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq")
#endif

namespace pycoll::host::avx512 {
namespace {

constexpr std::size_t width = 64;

#include "device/host/lanes.inl"

struct Float16 {
    using Lane = float;
    static constexpr std::size_t element = 2;

    static Pair decode(const std::byte* from) { return {widened(from), widened(from + 32)}; }

    static Bytes encode(Pair v) {
        const __m512i first = _mm512_castsi256_si512(narrowed(v.first));
        const __m512i both = _mm512_maskz_inserti64x4(every_eighth, first, narrowed(v.second), 1);
        return reinterpret_cast<Bytes>(both);
    }

private:
    // With a mask that selects every lane: in GCC 12 the forms without one warn of a variable that
    // is not initialised.
    static constexpr __mmask16 every = 0xffff;
    static constexpr __mmask8 every_eighth = 0xff;

    static Vector<float> widened(const std::byte* from) {
        const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(from));
        return _mm512_maskz_cvtph_ps(every, half);
    }

    static __m256i narrowed(Vector<float> v) {
        return _mm512_maskz_cvtps_ph(every, with_one_nan<float>(v), _MM_FROUND_TO_NEAREST_INT);
    }
};

#include "device/host/fold.inl"

}  // namespace

constinit const Kernels kernels = make_kernels("avx512");

}  // namespace pycoll::host::avx512

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
