#pragma once

#include <cstddef>
#include <cstdint>

namespace pycoll::host {

/// Where the ranks of a node together read and write fewer bytes in a call for what they copy to
/// their outputs, that is faster through the caches than past them (copy_past_caches).
[[nodiscard]] std::uint64_t most_cached();

/// Does it take a core long to write again what it has written before and another core has read
/// since, and much less what the other core has written to as well? Then readers should
/// take_lines_over().
[[nodiscard]] bool owners_write_slowly();

/// Makes the cache lines of these bytes this core's alone; what is in them stays. For who has just
/// read them, and before whoever writes there next may: nobody else may write these bytes, or
/// depend on nobody writing them, meanwhile.
void take_lines_over(void* data, std::size_t bytes);

}  // namespace pycoll::host
