#include "engine/call.hpp"

#include <limits>
#include <numeric>
#include <stdexcept>

namespace pycoll {
namespace {

std::uintptr_t address(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory); }

/// Byte offsets must fit a signed 64-bit integer, sums over all ranks included.
void check_lengths(const Request& request, std::uint64_t element) {
    const std::uint64_t most = std::numeric_limits<std::int64_t>::max() / element;
    if (request.count > most / static_cast<std::uint64_t>(request.size)) {
        throw std::invalid_argument("count " + std::to_string(request.count) + " is too large");
    }
    for (const auto* counts : {&request.counts, &request.recv_counts}) {
        std::uint64_t left = most;
        for (const std::uint64_t count : *counts) {
            if (count > left) throw std::invalid_argument("the sum of counts is too large");
            left -= count;
        }
    }
}

/// Bytes from the start of the larger buffer of a block-wise collective to this rank's block.
std::uint64_t own_block_offset(const Request& request, std::uint64_t element) {
    const auto rank = request.rank;
    const std::uint64_t elements =
        request.counts.empty() ? request.count * static_cast<std::uint64_t>(rank)
                               : std::accumulate(request.counts.begin(),
                                                 request.counts.begin() + rank, std::uint64_t{0});
    return elements * element;
}

/// Do input and output share memory in the one way that is allowed?
bool is_in_place(const Call& call, const Request& request, std::uint64_t element) {
    const std::uint64_t input_bytes = request.input_count() * element;
    const std::uint64_t output_bytes = request.output_count() * element;
    if (input_bytes == 0 || output_bytes == 0) return false;
    const std::uintptr_t input = address(call.input);
    const std::uintptr_t output = address(call.output);
    if (input >= output + output_bytes || output >= input + input_bytes) return false;
    if (request.collective == Collective::all_to_all ||
        input != output + static_cast<std::uintptr_t>(in_place_shift(request, element))) {
        throw std::invalid_argument(
            "'out' overlaps the input without being exactly in place; pass a separate array");
    }
    return true;
}

}  // namespace

std::ptrdiff_t in_place_shift(const Request& request, std::size_t element_size) {
    switch (request.collective) {
        case Collective::all_gather:
        case Collective::gather:
            return static_cast<std::ptrdiff_t>(own_block_offset(request, element_size));
        case Collective::reduce_scatter:
        case Collective::scatter:
            return -static_cast<std::ptrdiff_t>(own_block_offset(request, element_size));
        default:
            return 0;
    }
}

Request request_for(const Call& call, int rank, int size) {
    Request request{
        .collective = call.collective,
        .rank = rank,
        .size = size,
        .count = call.count,
        .root = call.root,
        .counts = call.counts,
        .recv_counts = call.recv_counts,
    };
    check(request);
    if (reduces(call.collective) && !supports(call.op, call.dtype)) {
        throw std::invalid_argument("op '" + std::string(name(call.op)) +
                                    "' is not defined for dtype " + std::string(name(call.dtype)));
    }
    const std::uint64_t element = size_of(call.dtype);
    check_lengths(request, element);
    const bool has_memory = call.input != nullptr && call.output != nullptr;
    request.in_place = has_memory && is_in_place(call, request, element);
    return request;
}

}  // namespace pycoll
