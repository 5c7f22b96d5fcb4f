#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "engine_aware_transport.hpp"
#include "engine_ranks.hpp"

namespace pycoll::test {

/// How the memory of one GPU comes to another.
enum class Path : std::uint8_t { pinned, aware, mapped };
inline constexpr std::array path_names = {"through pinned memory", "by messages from GPU to GPU",
                                          "by mapped memory"};

/// Ranks that are threads of one process see each other's memory on one GPU only.
inline int gpu_of(Path path, int rank) { return path == Path::mapped ? 0 : rank % 2; }

/// Ranks whose GPUs are reached so.
inline Ranks ranks_with(Path path, int size, const Nodes& nodes = {},
                        const ThreadGroup::Options& network = {},
                        std::chrono::nanoseconds timeout = std::chrono::minutes(1)) {
    Communicator::Options options;
    options.timeout = timeout;
    options.shares_gpus = path == Path::mapped;
    return Ranks(size, network, options, nodes, [path](std::unique_ptr<Transport> transport) {
        if (path != Path::aware) return transport;
        return std::unique_ptr<Transport>(std::make_unique<AwareTransport>(std::move(transport)));
    });
}

}  // namespace pycoll::test
