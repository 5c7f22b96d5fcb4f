#pragma once

#include <cstdint>
#include <memory>

#include "transport/transport.hpp"

namespace pycoll {

/// A communicator whose ranks are threads of one process. It makes the engine testable without
/// MPI, under sanitizers, and with the timings of a bad day: messages complete after a random
/// number of polls, and a send sometimes waits for its receiver and sometimes does not.
class ThreadGroup {
public:
    struct Options {
        std::uint64_t seed = 1;
        /// A completed message shows up after up to this many polls.
        int max_delay_polls = 0;
        /// Chance that a send waits for its receiver instead of being buffered.
        double rendezvous = 0.5;
        int tag_count = 32767;
    };

    ThreadGroup(int size, const Options& options);

    /// The transport of one rank; it may outlive the group.
    [[nodiscard]] std::unique_ptr<Transport> transport(int rank) const;

private:
    class Network;
    class Endpoint;
    std::shared_ptr<Network> network_;
};

}  // namespace pycoll
