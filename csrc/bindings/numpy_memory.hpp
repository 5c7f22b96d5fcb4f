#pragma once

namespace pycoll {

/// From now on NumPy takes the memory of large arrays from the registered memory of this process,
/// where the caller's context has NumPy's own allocator. To do so again changes nothing.
/// False where a program has set another allocator, which is left alone.
[[nodiscard]] bool share_numpy_arrays();

}  // namespace pycoll
