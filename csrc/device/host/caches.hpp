#pragma once

#include <cstdint>

namespace pycoll::host {

/// Of how many bytes, read and written by all ranks of a node together, copies are faster through
/// the caches than past them (copy_past_caches).
[[nodiscard]] std::uint64_t most_cached();

}  // namespace pycoll::host
