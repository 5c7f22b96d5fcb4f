#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/collective.hpp"
#include "core/dtype.hpp"
#include "core/reduction.hpp"
#include "device/cuda/driver.hpp"
#include "schedule/request.hpp"

namespace pycoll {

/// That arrays lie on a GPU.
struct OnGpu {
    int ordinal = 0;
    /// What is on these streams comes first.
    std::vector<cuda::Stream> after = {};
};

/// One collective call as the user makes it.
struct Call {
    Collective collective = Collective::barrier;
    DType dtype = DType::u8;
    ReduceOp op = ReduceOp::sum;
    int root = 0;
    /// As in Request.
    std::uint64_t count = 0;
    std::vector<std::uint64_t> counts = {};
    std::vector<std::uint64_t> recv_counts = {};
    const void* input = nullptr;
    void* output = nullptr;
    std::string algorithm = "auto";
    /// Bytes per pipelined chunk; 0 leaves it to the library.
    std::uint64_t chunk_bytes = 0;
    /// Nothing where they lie in memory of the host.
    std::optional<OnGpu> gpu = {};
};

/// Bytes from where the output of a call in place lies to where its input does.
[[nodiscard]] std::ptrdiff_t in_place_shift(const Request& request, std::size_t element_size);

/// Checks a call before anything is sent and works out whether its input and output share memory.
/// Throws std::invalid_argument, naming the argument.
[[nodiscard]] Request request_for(const Call& call, int rank, int size);

}  // namespace pycoll
