#include "engine/abandoned.hpp"

#include <mutex>
#include <utility>
#include <vector>

namespace pycoll {

void abandon(std::unique_ptr<Transport> transport,
             std::vector<std::shared_ptr<Execution>> executions) {
    struct Abandoned {
        std::unique_ptr<Transport> transport;
        std::vector<std::shared_ptr<Execution>> executions;
    };
    static std::mutex mutex;
    // Never destroyed, not even at exit.
    static auto& abandoned = *new std::vector<Abandoned>();
    const std::lock_guard lock(mutex);
    abandoned.push_back({std::move(transport), std::move(executions)});
}

}  // namespace pycoll
