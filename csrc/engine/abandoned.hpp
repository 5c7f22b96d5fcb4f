#pragma once

#include <memory>
#include <vector>

#include "engine/execution.hpp"
#include "transport/transport.hpp"

namespace pycoll {

/// Keeps, for the rest of the process, operations that were given up on and the transport that
/// still holds their messages: a peer may yet write into their memory.
void abandon(std::unique_ptr<Transport> transport,
             std::vector<std::shared_ptr<Execution>> executions);

}  // namespace pycoll
