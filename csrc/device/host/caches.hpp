#pragma once

#include <cstdint>

namespace pycoll::host {

/// Where all ranks of a node together write fewer bytes, copies are faster through the caches than
/// past them (copy_past_caches).
[[nodiscard]] std::uint64_t most_cached();

}  // namespace pycoll::host
