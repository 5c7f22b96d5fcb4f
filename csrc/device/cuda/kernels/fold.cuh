#pragma once

#include <cstdint>
#include <cstring>

#include "device/cuda/fold_arguments.hpp"
#include "device/cuda/kernels/formats.cuh"
#include "device/cuda/kernels/operations.cuh"

// nvcc unrolls the loops of a fixed length, and is told to leave the others: unrolled they are no
// better, and half as much code again. By a macro, for other compilers warn of the pragma.
#if defined(__CUDACC__)
#define PYCOLL_KEEP_LOOP _Pragma("unroll 1")
#else
#define PYCOLL_KEEP_LOOP
#endif

/// The fold of all sources in one pass over memory: each element is loaded, folded in registers and
/// stored by one thread, so that the destination may be one of the sources. 16 bytes at a time
/// where all buffers lie alike, one element at a time elsewhere and at the ends.
namespace pycoll::cuda {

/// What a thread moves with one instruction at most.
inline constexpr unsigned vector_bytes = 16;

template <typename Format>
inline constexpr unsigned lanes_of = vector_bytes / sizeof(typename Format::Element);

/// `lanes` neighbours of a buffer.
template <typename Element, unsigned lanes>
struct alignas(lanes * sizeof(Element)) Pack {
    Element elements[lanes];
};

template <typename Format, unsigned lanes>
using PackOf = Pack<typename Format::Element, lanes>;

/// The `lanes` elements of a source from number `at` on.
template <typename Format, unsigned lanes>
__device__ inline PackOf<Format, lanes> load(const void* source, std::uint64_t at) {
    const auto* from = static_cast<const typename Format::Element*>(source) + at;
    return *reinterpret_cast<const PackOf<Format, lanes>*>(from);
}

/// Folds `number` sources from `first` on into `folded`. They are all on their way before the first
/// one is waited for: ptxas keeps the order of loads and uses, and would wait for each in turn.
template <typename Format, typename Op, unsigned lanes, unsigned number>
__device__ inline void fold_sources(typename Format::Lane (&folded)[lanes],
                                    const FoldArguments& arguments, unsigned first,
                                    std::uint64_t at) {
    PackOf<Format, lanes> packs[number];
    for (unsigned s = 0; s < number; ++s) {
        packs[s] = load<Format, lanes>(arguments.srcs[first + s], at);
    }
    for (unsigned s = 0; s < number; ++s) {
        for (unsigned i = 0; i < lanes; ++i) {
            folded[i] = Op::template fold<typename Format::Lane>(
                folded[i], Format::decode(packs[s].elements[i]));
        }
    }
}

/// The result's `lanes` elements from number `at` on.
template <typename Format, typename Op, unsigned lanes>
__device__ inline void fold_pack(const FoldArguments& arguments, std::uint64_t at) {
    const PackOf<Format, lanes> leftmost = load<Format, lanes>(arguments.srcs[0], at);
    typename Format::Lane folded[lanes];
    for (unsigned i = 0; i < lanes; ++i) folded[i] = Format::decode(leftmost.elements[i]);

    unsigned next = 1;
    PYCOLL_KEEP_LOOP
    for (; arguments.sources - next >= 4; next += 4) {
        fold_sources<Format, Op, lanes, 4>(folded, arguments, next, at);
    }
    if (arguments.sources - next >= 2) {
        fold_sources<Format, Op, lanes, 2>(folded, arguments, next, at);
        next += 2;
    }
    if (arguments.sources - next >= 1) {
        fold_sources<Format, Op, lanes, 1>(folded, arguments, next, at);
    }

    if constexpr (Op::divides) {
        if (arguments.divisor != 1) {
            for (unsigned i = 0; i < lanes; ++i) {
                folded[i] = divided(folded[i], arguments.divisor);
            }
        }
    }
    PackOf<Format, lanes> result;
    for (unsigned i = 0; i < lanes; ++i) result.elements[i] = Format::encode(folded[i]);
    auto* to = static_cast<typename Format::Element*>(arguments.dst) + at;
    *reinterpret_cast<PackOf<Format, lanes>*>(to) = result;
}

/// Whether the boundaries of 16 bytes are at the same elements of all buffers.
__device__ inline bool lie_alike(const FoldArguments& arguments) {
    const auto place = reinterpret_cast<std::uintptr_t>(arguments.dst);
    std::uintptr_t differences = 0;
    PYCOLL_KEEP_LOOP
    for (unsigned source = 0; source < arguments.sources; ++source) {
        differences |= reinterpret_cast<std::uintptr_t>(arguments.srcs[source]) ^ place;
    }
    return differences % vector_bytes == 0;
}

/// The part of thread `thread` of `threads` in a fold.
template <typename Format, typename Op>
__device__ inline void fold(const FoldArguments& arguments, std::uint64_t thread,
                            std::uint64_t threads) {
    constexpr unsigned lanes = lanes_of<Format>;
    const std::uint64_t count = arguments.count;
    // Elements ahead of the first boundary, and vectors from there on.
    std::uint64_t ahead = count;
    std::uint64_t vectors = 0;
    if (lie_alike(arguments)) {
        const auto place = reinterpret_cast<std::uintptr_t>(arguments.dst);
        const std::uint64_t to_boundary =
            (vector_bytes - place % vector_bytes) % vector_bytes / sizeof(typename Format::Element);
        if (to_boundary < count) {
            ahead = to_boundary;
            vectors = (count - ahead) / lanes;
        }
    }
    for (std::uint64_t vector = thread; vector < vectors; vector += threads) {
        fold_pack<Format, Op, lanes>(arguments, ahead + vector * lanes);
    }
    const std::uint64_t single = count - vectors * lanes;
    for (std::uint64_t i = thread; i < single; i += threads) {
        fold_pack<Format, Op, 1>(arguments, i < ahead ? i : i + vectors * lanes);
    }
}

}  // namespace pycoll::cuda

#undef PYCOLL_KEEP_LOOP
