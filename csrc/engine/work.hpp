#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "device/cuda/driver.hpp"

namespace pycoll {

class Communicator;
class Execution;

/// An operation under way. Dropping it is safe: the operation goes on. Copies are handles of the
/// same operation; several threads may use them at once.
class Work {
public:
    Work(std::shared_ptr<Communicator> communicator, std::shared_ptr<Execution> execution)
        : communicator_(std::move(communicator)), execution_(std::move(execution)) {}

    /// Has it completed? Helps it along, without blocking. Throws CollectiveError if it failed.
    [[nodiscard]] bool test();
    /// Waits until it has completed. Throws TimeoutError after `timeout`, upon which the operation
    /// goes on and may be waited for again, and CollectiveError (a TimeoutError, if it was the
    /// communicator that gave up) if it failed.
    void wait(std::optional<std::chrono::nanoseconds> timeout = std::nullopt);
    /// Has a stream of the operation's GPU go on only when the operation is over, or has failed;
    /// does not wait itself, unless nobody else moves the operation along, or the stream could keep
    /// the GPU from it (one of the highest priority). Throws as wait() does if it has failed by
    /// now.
    void order(cuda::Stream stream);

private:
    friend std::vector<std::size_t> wait_some(std::span<const Work> works,
                                              std::optional<std::chrono::nanoseconds> timeout);

    std::shared_ptr<Communicator> communicator_;
    std::shared_ptr<Execution> execution_;
};

/// Waits until one or more of several operations of one communicator have completed; returns the
/// positions of all that have, in order, so that none is passed over for ever. Throws as
/// Work::wait() does, and std::invalid_argument without works, or with those of several
/// communicators.
[[nodiscard]] std::vector<std::size_t> wait_some(
    std::span<const Work> works, std::optional<std::chrono::nanoseconds> timeout = std::nullopt);

}  // namespace pycoll
