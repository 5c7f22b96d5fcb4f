#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace fake_cuda {

/// What processes do to an allocation at this moment, in memory that all of them map. Clocks cannot
/// be compared between processes, so that only accesses that might happen at the same time are
/// found: each counts from when it could begin, before its delay by chance, to its end.
class SharedUses {
public:
    /// This process begins to read or write a part of the allocation. Returns a process whose use
    /// of it conflicts; 0 for none.
    [[nodiscard]] pid_t enter(std::uint64_t begin, std::uint64_t bytes, bool writes);
    void leave(std::uint64_t begin, std::uint64_t bytes, bool writes);

private:
    struct Use {
        pid_t process;
        std::uint32_t writes;
        std::uint64_t begin;
        std::uint64_t bytes;
        bool operator==(const Use&) const = default;
    };

    std::atomic_flag locked_;
    std::uint32_t count_;
    std::array<Use, 150> uses_;
};

}  // namespace fake_cuda
