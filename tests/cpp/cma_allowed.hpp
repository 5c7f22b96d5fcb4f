#pragma once

#include "transport/shared/cma.hpp"

namespace pycoll::test {

/// Some containers forbid it, even within a process.
inline bool is_cma_allowed() {
    const char own = 0;
    return cma::is_reached(&own, sizeof own);
}

}  // namespace pycoll::test
