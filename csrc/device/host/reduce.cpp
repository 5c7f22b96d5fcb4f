#include "device/host/reduce.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "device/host/kernels.hpp"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace pycoll::host {

namespace {

/// A pass of its own over the sum: there is no vector instruction for it, so that the division, not
/// the memory, takes the time.
template <typename T>
void divide(void* values, std::uint64_t count, std::size_t divisor) {
    using Wide = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
    auto* at = static_cast<std::byte*>(values);
    for (std::uint64_t i = 0; i < count; ++i, at += sizeof(T)) {
        T value;
        std::memcpy(&value, at, sizeof(T));
        value = static_cast<T>(static_cast<Wide>(value) / static_cast<Wide>(divisor));
        std::memcpy(at, &value, sizeof(T));
    }
}

void divide_integers(DType dtype, void* values, std::uint64_t count, std::size_t divisor) {
    switch (dtype) {
        case DType::i8:
            return divide<std::int8_t>(values, count, divisor);
        case DType::i16:
            return divide<std::int16_t>(values, count, divisor);
        case DType::i32:
            return divide<std::int32_t>(values, count, divisor);
        case DType::i64:
            return divide<std::int64_t>(values, count, divisor);
        case DType::u8:
            return divide<std::uint8_t>(values, count, divisor);
        case DType::u16:
            return divide<std::uint16_t>(values, count, divisor);
        case DType::u32:
            return divide<std::uint32_t>(values, count, divisor);
        case DType::u64:
            return divide<std::uint64_t>(values, count, divisor);
        default:
            return;
    }
}

const Kernels& chosen_kernels() {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): read once; nobody here sets the environment.
    static const Kernels& chosen = choose_kernels(std::getenv("PYCOLL_ISA"));
    return chosen;
}

}  // namespace

void reduce_many(const Kernels& kernels, DType dtype, ReduceOp op, std::span<void* const> dsts,
                 std::span<const void* const> srcs, std::uint64_t count, std::size_t size,
                 bool finish) {
    const bool divides = finish && op == ReduceOp::avg && size > 1;
    const bool divides_after = divides && !is_floating(dtype);
    const Fold fold = kernels.folds[static_cast<std::size_t>(op)][static_cast<std::size_t>(dtype)];
    const std::size_t bytes = count * size_of(dtype);
    fold({.dsts = dsts.data(),
          .destinations = divides_after ? 1 : dsts.size(),
          .srcs = srcs.data(),
          .sources = srcs.size(),
          .divisor = divides && !divides_after ? static_cast<double>(size) : 1.0},
         bytes);
    if (!divides_after) return;
    divide_integers(dtype, dsts[0], count, size);
    for (void* const dst : dsts.subspan(1)) copy(dst, dsts[0], bytes);
}

void reduce(DType dtype, ReduceOp op, void* dst, const void* left, const void* right,
            std::uint64_t count) {
    reduce_finish(dtype, op, dst, left, right, count, 1);
}

void reduce_finish(DType dtype, ReduceOp op, void* dst, const void* left, const void* right,
                   std::uint64_t count, std::size_t size) {
    const void* const srcs[] = {left, right};
    reduce_many(dtype, op, {&dst, 1}, srcs, count, size, true);
}

void reduce_many(DType dtype, ReduceOp op, std::span<void* const> dsts,
                 std::span<const void* const> srcs, std::uint64_t count, std::size_t size,
                 bool finish) {
    reduce_many(chosen_kernels(), dtype, op, dsts, srcs, count, size, finish);
}

void copy(void* dst, const void* src, std::size_t bytes) {
    // Beyond a size of which it decides, the C library takes other instructions, as what it copies
    // would not stay in the caches anyway; here it does, or else copy_past_caches() is called. Two
    // processes that gather two blocks of 1 and 4 MiB each (Zen 5): 47 and 207 us at once, 35 and
    // 134 in pieces.
    constexpr std::size_t most_at_once = 512 << 10;
    const auto* from = static_cast<const std::byte*>(src);
    auto* to = static_cast<std::byte*>(dst);
    while (bytes > 0) {
        const std::size_t piece = std::min(bytes, most_at_once);
        std::memcpy(to, from, piece);
        to += piece;
        from += piece;
        bytes -= piece;
    }
}

#if defined(__x86_64__)

void copy_past_caches(void* dst, const void* src, std::size_t bytes) {
    constexpr std::size_t line = 64;
    auto* to = static_cast<std::byte*>(dst);
    const auto* from = static_cast<const std::byte*>(src);
    // Only whole lines are written without being fetched.
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(dst) % line;
    if (bytes < before + line) return copy(dst, src, bytes);
    copy(to, from, before);
    std::size_t done = before;
    for (; bytes - done >= line; done += line) {
        const auto* const vectors = reinterpret_cast<const __m128i_u*>(from + done);
        auto* const lines = reinterpret_cast<__m128i*>(to + done);
        const __m128i first = _mm_loadu_si128(vectors);
        const __m128i second = _mm_loadu_si128(vectors + 1);
        const __m128i third = _mm_loadu_si128(vectors + 2);
        const __m128i fourth = _mm_loadu_si128(vectors + 3);
        _mm_stream_si128(lines, first);
        _mm_stream_si128(lines + 1, second);
        _mm_stream_si128(lines + 2, third);
        _mm_stream_si128(lines + 3, fourth);
    }
    copy(to + done, from + done, bytes - done);
    // Such stores are not ordered otherwise, not even by a release.
    _mm_sfence();
}

#else

void copy_past_caches(void* dst, const void* src, std::size_t bytes) { copy(dst, src, bytes); }

#endif

std::string_view instruction_set() { return chosen_kernels().instruction_set; }

}  // namespace pycoll::host
