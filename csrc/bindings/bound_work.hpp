#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <string>

#include "bindings/arguments.hpp"
#include "bindings/stream_argument.hpp"
#include "engine/communicator.hpp"

namespace pycoll {

using SharedCommunicator = std::shared_ptr<Communicator>;

/// Lets other Python threads run, unless MPI cannot stand two threads: then the interpreter lock
/// keeps them apart.
class Unlocked {
public:
    explicit Unlocked(const Communicator& communicator) {
        if (communicator.any_thread()) release_.emplace();
    }

private:
    std::optional<pybind11::gil_scoped_release> release_;
};

/// A Work as Python sees it.
struct BoundWork {
    SharedCommunicator communicator;
    /// Of its arrays, if they lie on one.
    std::optional<int> gpu;
    Work work;

    bool test() {
        const Unlocked unlocked(*communicator);
        return work.test();
    }

    void wait(pybind11::handle timeout) {
        const auto limit =
            naming(communicator->rank(), "wait", [&] { return timeout_argument(timeout); });
        const Unlocked unlocked(*communicator);
        work.wait(limit);
    }

    /// Has a stream go on after the operation only.
    void order(pybind11::handle stream) {
        naming(communicator->rank(), "wait", [&] {
            const auto ordered = stream_argument(stream);
            if (!ordered) throw pybind11::type_error("'stream' is missing; pass one");
            if (!gpu) {
                throw pybind11::type_error(
                    "'stream' is for operations on a GPU, and the arrays of this one are on the "
                    "host; omit it");
            }
            require_not_captured(*gpu, *ordered, "'stream'");
            const Unlocked unlocked(*communicator);
            work.order(*ordered);
        });
    }
};

inline void require_open(const Communicator& communicator, const std::string& function) {
    if (!communicator.closed()) return;
    throw CollectiveError("rank " + std::to_string(communicator.rank()) + ": " + function +
                          ": this communicator is closed; make a new one");
}

}  // namespace pycoll
