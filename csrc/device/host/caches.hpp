#pragma once

#include <cstdint>

namespace pycoll::host {

/// Where the ranks of a call together copy fewer bytes to their outputs, that is faster through the
/// caches than past them (copy_past_caches).
[[nodiscard]] std::uint64_t most_cached();

}  // namespace pycoll::host
