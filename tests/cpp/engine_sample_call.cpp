#include "engine_sample_call.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "check.hpp"
#include "cuda/fake/fake_cuda.hpp"
#include "transport/cuda/heap.hpp"
#include "transport/shared/heap.hpp"

namespace pycoll::test {
namespace {

/// Buffers are fenced: nothing may leave them. Those on the host start at odd addresses: nothing
/// may rely on alignment there. GPUs only read whole elements.
constexpr std::size_t fence_on_host = 9;
constexpr std::size_t fence_on_gpu = 24;
constexpr std::byte fence_byte{0xA5};

/// Calls visit(T()) with the C++ type of a data type.
template <typename Visit>
auto as_type(DType dtype, Visit&& visit) {
    switch (dtype) {
        case DType::i8:
            return visit(std::int8_t());
        case DType::i16:
            return visit(std::int16_t());
        case DType::i32:
            return visit(std::int32_t());
        case DType::i64:
            return visit(std::int64_t());
        case DType::u8:
            return visit(std::uint8_t());
        case DType::u16:
            return visit(std::uint16_t());
        case DType::u32:
            return visit(std::uint32_t());
        case DType::u64:
            return visit(std::uint64_t());
        case DType::f32:
            return visit(float());
        case DType::f64:
            return visit(double());
        default:
            break;
    }
    fail("no such type here", std::source_location::current());
}

/// What is left of a whole number in a data type.
std::int64_t wrapped(DType dtype, std::int64_t value) {
    if (dtype == DType::boolean) return value != 0 ? 1 : 0;
    if (dtype == DType::bf16) return value;  // small ones only
    return as_type(dtype, [&](auto type) {
        return static_cast<std::int64_t>(static_cast<decltype(type)>(value));
    });
}

void store(DType dtype, std::byte* at, std::int64_t value) {
    if (dtype == DType::boolean) {
        *at = static_cast<std::byte>(value);
    } else if (dtype == DType::bf16) {
        const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
        const auto half = static_cast<std::uint16_t>(bits >> 16);
        std::memcpy(at, &half, sizeof half);
    } else {
        as_type(dtype, [&](auto type) {
            type = static_cast<decltype(type)>(value);
            std::memcpy(at, &type, sizeof type);
        });
    }
}

std::int64_t load(DType dtype, const std::byte* at) {
    if (dtype == DType::boolean) return static_cast<std::int64_t>(*at);
    if (dtype == DType::bf16) {
        std::uint16_t half = 0;
        std::memcpy(&half, at, sizeof half);
        return static_cast<std::int64_t>(
            std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16));
    }
    return as_type(dtype, [&](auto type) {
        std::memcpy(&type, at, sizeof type);
        return static_cast<std::int64_t>(type);
    });
}

std::int64_t fold(ReduceOp op, std::int64_t a, std::int64_t b) {
    const auto x = static_cast<std::uint64_t>(a);
    const auto y = static_cast<std::uint64_t>(b);
    switch (op) {
        case ReduceOp::sum:
        case ReduceOp::avg:
            return static_cast<std::int64_t>(x + y);
        case ReduceOp::prod:
            return static_cast<std::int64_t>(x * y);
        case ReduceOp::min:
            return std::min(a, b);
        case ReduceOp::max:
            return std::max(a, b);
        case ReduceOp::band:
            return a & b;
        case ReduceOp::bor:
            return a | b;
        case ReduceOp::bxor:
            return a ^ b;
    }
    return 0;
}

}  // namespace

void SampleCall::Memory::assign(std::size_t bytes, std::byte value, const Shape& shape) {
    bytes_ = bytes;
    if (shape.gpu) {
        if (shape.registered) {
            data_ = GpuHeap::of(*shape.gpu).allocate(bytes);
        } else {
            MemorySource& source = cuda::Gpu::at(*shape.gpu).memory();
            data_ = {source.allocate(std::max<std::size_t>(bytes, 1)),
                     [&source](std::byte* memory) { source.free(memory); }};
        }
        seen_ = static_cast<std::byte*>(fake_cuda_alias(data_.get()));
    } else if (shape.registered) {
        data_ = SharedHeap::instance().allocate(bytes);
        seen_ = data_.get();
    } else {
        const auto memory = std::make_shared<std::vector<std::byte>>(bytes);
        data_ = {memory, memory->data()};
        seen_ = data_.get();
    }
    std::fill_n(seen_, bytes, value);
}

SampleCall::SampleCall(Shape shape, int rank) : shape_(std::move(shape)), rank_(rank) {
    const Request own = request(rank);
    call_ = {.collective = shape_.collective,
             .dtype = shape_.dtype,
             .op = shape_.op,
             .root = shape_.root,
             .count = own.count,
             .counts = own.counts,
             .recv_counts = own.recv_counts,
             .algorithm = shape_.algorithm,
             .chunk_bytes = shape_.chunk_bytes};
    const std::size_t element = size_of(shape_.dtype);
    const std::size_t input_bytes = own.input_count() * element;
    output_bytes_ = own.output_count() * element;

    // Where input and output lie if they share memory.
    std::size_t input_at = 0;
    std::size_t output_at = 0;
    std::size_t shared_bytes = std::max(input_bytes, output_bytes_);
    if (shape_.collective == Collective::all_gather || shape_.collective == Collective::gather) {
        input_at = own.blocks().offset(rank) * element;
        shared_bytes = std::max(shared_bytes, input_at + input_bytes);
    } else if (shape_.collective == Collective::reduce_scatter ||
               shape_.collective == Collective::scatter) {
        output_at = own.blocks().offset(rank) * element;
        shared_bytes = std::max(shared_bytes, output_at + output_bytes_);
    }
    const std::size_t fence = shape_.gpu ? fence_on_gpu : fence_on_host;
    output_.assign((shape_.in_place ? shared_bytes : output_bytes_) + 2 * fence, fence_byte,
                   shape_);
    input_.assign(shape_.in_place ? 0 : input_bytes + 2 * fence, fence_byte, shape_);
    output_start_ = fence + (shape_.in_place ? output_at : 0);

    const Memory& holds_input = shape_.in_place ? output_ : input_;
    const std::size_t input_start = fence + (shape_.in_place ? input_at : 0);
    for (std::uint64_t i = 0; i < own.input_count(); ++i) {
        store(shape_.dtype, holds_input.seen() + input_start + i * element, value(rank, i));
    }
    if (shape_.gpu) call_.gpu = OnGpu{.ordinal = *shape_.gpu};
    input_before_.assign(input_.bytes().begin(), input_.bytes().end());
    call_.input = holds_input.data() + input_start;
    call_.output = output_.data() + output_start_;
    for (int peer = 0; peer < shape_.size; ++peer) blocks_.push_back(request(peer).blocks());
    received_ = own.recv_blocks();
}

Request SampleCall::request(int rank) const {
    Request request{.collective = shape_.collective,
                    .rank = rank,
                    .size = shape_.size,
                    .count = shape_.count,
                    .root = shape_.root};
    if (!shape_.with_counts) return request;
    for (int peer = 0; peer < shape_.size; ++peer) {
        const auto own = static_cast<std::uint64_t>(rank);
        const auto other = static_cast<std::uint64_t>(peer);
        if (shape_.collective == Collective::all_to_all) {
            request.counts.push_back((shape_.count + own + 2 * other) % 5);
            request.recv_counts.push_back((shape_.count + other + 2 * own) % 5);
        } else {
            request.counts.push_back((shape_.count + other) % 5);
        }
    }
    return request;
}

/// Small enough that sums, and products over 8 ranks, are exact.
std::int64_t SampleCall::value(int rank, std::uint64_t index) const {
    // Half of them below zero, except where 64 bits would then not fit the sign.
    const std::int64_t least = shape_.dtype == DType::u64 ? 0 : -4;
    const std::int64_t small =
        (7 * rank + 3 * static_cast<std::int64_t>(index % 1000) + shape_.seed) % 9 + least;
    // Averages come out whole, then, also in floating point.
    return wrapped(shape_.dtype, shape_.op == ReduceOp::avg ? small * shape_.size : small);
}

std::int64_t SampleCall::folded(std::uint64_t index) const {
    std::int64_t result = value(0, index);
    for (int rank = 1; rank < shape_.size; ++rank) {
        result = fold(shape_.op, result, value(rank, index));
    }
    result = wrapped(shape_.dtype, result);
    return shape_.op == ReduceOp::avg ? result / shape_.size : result;
}

std::int64_t SampleCall::expected(std::uint64_t index) const {
    switch (shape_.collective) {
        case Collective::all_reduce:
        case Collective::reduce:
            return folded(index);
        case Collective::reduce_scatter:
            return folded(blocks_[at(rank_)].offset(rank_) + index);
        case Collective::broadcast:
            return value(shape_.root, index);
        case Collective::scatter:
            return value(shape_.root, blocks_[at(rank_)].offset(rank_) + index);
        case Collective::all_gather:
        case Collective::gather:
        case Collective::all_to_all: {
            const Blocks& blocks =
                shape_.collective == Collective::all_to_all ? received_ : blocks_[at(rank_)];
            int peer = 0;
            while (blocks.offset(peer) + blocks.count(peer) <= index) ++peer;
            index -= blocks.offset(peer);
            if (shape_.collective == Collective::all_to_all) {
                index += blocks_[at(peer)].offset(rank_);
            }
            return value(peer, index);
        }
        case Collective::barrier:
            break;
    }
    return 0;
}

void SampleCall::check() const {
    const std::size_t element = size_of(shape_.dtype);
    for (std::uint64_t i = 0; i < output_bytes_ / element; ++i) {
        const std::int64_t got = load(shape_.dtype, output_.seen() + output_start_ + i * element);
        const std::int64_t wanted = expected(i);
        if (got == wanted) continue;  // describing it takes longer than all the rest
        check_equal(got, wanted, describe() + ": output[" + std::to_string(i) + "]");
    }
    test::check(std::ranges::equal(input_.bytes(), input_before_),
                describe() + ": the input has changed");
    const std::size_t fence = shape_.gpu ? fence_on_gpu : fence_on_host;
    const auto is_fence = [](std::byte byte) { return byte == fence_byte; };
    const std::span<const std::byte> output = output_.bytes();
    test::check(std::ranges::all_of(output.first(fence), is_fence) &&
                    std::ranges::all_of(output.last(fence), is_fence),
                describe() + ": the memory around the output has changed");
}

std::string SampleCall::describe() const {
    return std::string(name(shape_.collective)) + " by " + shape_.algorithm + ", rank " +
           std::to_string(rank_) + " of " + std::to_string(shape_.size) + ", " +
           std::to_string(shape_.count) + " x " + std::string(name(shape_.dtype)) +
           (shape_.with_counts ? " with counts, " : ", ") + std::string(name(shape_.op)) +
           ", root " + std::to_string(shape_.root) + ", chunks of " +
           std::to_string(shape_.chunk_bytes) + " bytes" + (shape_.in_place ? ", in place" : "") +
           (shape_.registered ? ", registered" : "") + (shape_.gpu ? ", on a GPU" : "");
}

}  // namespace pycoll::test
