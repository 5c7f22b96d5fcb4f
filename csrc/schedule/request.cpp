#include "schedule/request.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace pycoll {

Blocks Blocks::uniform(std::uint64_t count, int size) {
    return of(std::vector<std::uint64_t>(index(size), count));
}

Blocks Blocks::of(const std::vector<std::uint64_t>& counts) {
    std::vector<std::uint64_t> offsets(counts.size() + 1, 0);
    for (std::size_t i = 0; i < counts.size(); ++i) offsets[i + 1] = offsets[i] + counts[i];
    return Blocks(std::move(offsets));
}

Blocks Blocks::split(std::uint64_t total, int size) {
    const auto parts = static_cast<std::uint64_t>(size);
    std::vector<std::uint64_t> offsets(index(size) + 1, 0);
    for (std::uint64_t i = 0; i < parts; ++i) {
        offsets[i + 1] = offsets[i] + total / parts + (i < total % parts ? 1 : 0);
    }
    return Blocks(std::move(offsets));
}

std::uint64_t Blocks::largest() const {
    std::uint64_t most = 0;
    for (int i = 0; i < size(); ++i) most = std::max(most, count(i));
    return most;
}

Blocks Request::blocks() const {
    return counts.empty() ? Blocks::uniform(count, size) : Blocks::of(counts);
}

Blocks Request::recv_blocks() const {
    return recv_counts.empty() ? Blocks::uniform(count, size) : Blocks::of(recv_counts);
}

std::uint64_t Request::input_count() const {
    switch (collective) {
        case Collective::all_reduce:
        case Collective::reduce:
            return count;
        case Collective::broadcast:
            return is_root() ? count : 0;
        case Collective::all_gather:
        case Collective::gather:
            return blocks().count(rank);
        case Collective::scatter:
            return is_root() ? blocks().total() : 0;
        case Collective::reduce_scatter:
        case Collective::all_to_all:
            return blocks().total();
        case Collective::barrier:
            break;
    }
    return 0;
}

std::uint64_t Request::output_count() const {
    switch (collective) {
        case Collective::all_reduce:
        case Collective::broadcast:
            return count;
        case Collective::reduce:
            return is_root() ? count : 0;
        case Collective::all_gather:
            return blocks().total();
        case Collective::gather:
            return is_root() ? blocks().total() : 0;
        case Collective::scatter:
        case Collective::reduce_scatter:
            return blocks().count(rank);
        case Collective::all_to_all:
            return recv_blocks().total();
        case Collective::barrier:
            break;
    }
    return 0;
}

void check(const Request& request) {
    const auto fail = [](const std::string& what) { throw std::invalid_argument(what); };
    if (request.size < 1) fail("size must be at least 1, not " + std::to_string(request.size));
    if (request.rank < 0 || request.rank >= request.size) {
        fail("rank " + std::to_string(request.rank) + " is outside [0, " +
             std::to_string(request.size) + ")");
    }
    if (request.root < 0 || request.root >= request.size) {
        fail("root " + std::to_string(request.root) + " is outside [0, " +
             std::to_string(request.size) + ")");
    }
    const auto size = static_cast<std::size_t>(request.size);
    if (!request.counts.empty() && request.counts.size() != size) {
        fail("counts has " + std::to_string(request.counts.size()) + " entries for " +
             std::to_string(request.size) + " ranks");
    }
    if (!request.nodes.empty() && request.nodes.size() != size) {
        fail("nodes has " + std::to_string(request.nodes.size()) + " entries for " +
             std::to_string(request.size) + " ranks");
    }
    const bool own_counts = request.collective == Collective::all_to_all;
    if (request.recv_counts.size() != (own_counts ? request.counts.size() : 0)) {
        fail("recv_counts goes with counts, in all_to_all only");
    }
    const auto own = static_cast<std::size_t>(request.rank);
    if (!request.recv_counts.empty() && request.recv_counts[own] != request.counts[own]) {
        fail("this rank sends itself " + std::to_string(request.counts[own]) +
             " elements, but expects " + std::to_string(request.recv_counts[own]) + " from itself");
    }
}

}  // namespace pycoll
