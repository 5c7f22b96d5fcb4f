#include "device/host/caches.hpp"

#include <algorithm>
#include <fstream>

namespace pycoll::host {
namespace {

/// Where nothing better is known: `tune` measures it. Two processes that each copy 1, 4 and 8 MiB
/// (2 cores of an Intel Emerald Rapids, 2 MiB of second-level cache each): 37, 15 and 13 GB/s
/// through the caches, 32, 24 and 22 past them; to gather blocks, writing 16 MiB in all, is faster
/// past them there, too. On another Xeon (with AMX), 1, 4, 8 and 32 MiB: 57, 28, 28 and 21 through
/// them, 40, 26, 26 and 25 past them.
constexpr std::uint64_t usual = std::uint64_t{24} << 20;

#if defined(__x86_64__)

bool is_amd() { return __builtin_cpu_is("amd") != 0; }

/// Of the third-level cache that the first core has, by the kernel; 0 if it says nothing. What
/// sysconf() says is that of all cores of a socket together.
std::uint64_t third_level() {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
    std::uint64_t size = 0;
    char unit = 0;
    if (!(file >> size >> unit)) return 0;
    return unit == 'K' ? size << 10 : unit == 'M' ? size << 20 : 0;
}

/// The third-level cache of AMD's processors is nearly as fast as the second. Two processes (Zen 5,
/// 32 MiB for both cores) that gather blocks, and write 8, 16, 32 and 64 MiB in all: 73, 134, 952
/// and 2230 us through the caches, 209, 219, 883 and 1810 past them; that exchange blocks, 16 MiB:
/// 190 and 384. So it may be a little more than what the cache holds.
std::uint64_t measure() {
    if (!is_amd()) return usual;
    // No cores share more. A virtual machine may say what all of a socket have.
    constexpr std::uint64_t largest = std::uint64_t{96} << 20;
    const std::uint64_t bytes = third_level();
    return bytes == 0 ? usual : std::min(bytes, largest) / 8 * 9;
}

#else

bool is_amd() { return false; }

std::uint64_t measure() { return usual; }

#endif

}  // namespace

std::uint64_t most_cached() {
    static const std::uint64_t bytes = measure();
    return bytes;
}

/// In AMD's protocol (MOESI) a core that others have read from still owns the line, and has to ask
/// around before it writes there. One of two cores writes 128 KiB, the other reads them, again and
/// again, us (Zen 4): 14.8 and 3.0; where the reader takes the lines over, 3.2 and 4.2.
bool owners_write_slowly() {
    static const bool slowly = is_amd();
    return slowly;
}

void take_lines_over(void* data, std::size_t bytes) {
    constexpr std::uintptr_t line = 64;
    auto* at = static_cast<volatile std::byte*>(data);
    const auto* const end = at + bytes;
    while (at < end) {
        *at = *at;
        at += line - reinterpret_cast<std::uintptr_t>(at) % line;
    }
}

}  // namespace pycoll::host
