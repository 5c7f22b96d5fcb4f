#pragma once

namespace pycoll::test {

/// Is this a build with a sanitizer, which takes 10 to 20 times as long?
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool is_sanitized = true;
#else
inline constexpr bool is_sanitized = false;
#endif

/// Does the compiler's own search for races see planted ones?
#if defined(__SANITIZE_THREAD__)
inline constexpr bool sees_races = true;
#else
inline constexpr bool sees_races = false;
#endif

}  // namespace pycoll::test
