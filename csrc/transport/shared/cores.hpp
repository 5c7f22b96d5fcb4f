#pragma once

#include <sched.h>

#include <atomic>
#include <cstddef>

#include "transport/shared/signals.hpp"

namespace pycoll {

/// On which core each rank of a node was last seen. A hint, which may be old. Lies in memory that
/// all ranks see, zeros at the start, and is written when a rank has changed cores only: what ranks
/// read lies in the caches of all cores.
class LastCores {
public:
    /// Bytes for `ranks` ranks, of whole cache lines.
    [[nodiscard]] static std::size_t bytes(int ranks) {
        constexpr std::size_t cache_line = NodeSignals::cache_line;
        const std::size_t needed = static_cast<std::size_t>(ranks) * sizeof(Core);
        return (needed + cache_line - 1) / cache_line * cache_line;
    }

    /// `memory` must be aligned to a cache line and outlive this.
    LastCores(std::byte* memory, int rank, int ranks)
        : rank_(rank), ranks_(ranks), cores_(reinterpret_cast<Core*>(memory)) {}

    /// This rank is here now.
    void look() {
        const int here = sched_getcpu() + 1;
        if (here == here_) return;
        here_ = here;
        cores_[rank_].store(here, std::memory_order_relaxed);
    }

    /// Is a peer known to have been on another core than this rank?
    [[nodiscard]] bool is_elsewhere(int peer) const {
        const int core = cores_[peer].load(std::memory_order_relaxed);
        return core != 0 && core != here_;
    }
    /// How many ranks were where this rank is, itself included.
    [[nodiscard]] int here() const {
        int count = 0;
        for (int rank = 0; rank < ranks_; ++rank) {
            count += cores_[rank].load(std::memory_order_relaxed) == here_ ? 1 : 0;
        }
        return count;
    }

private:
    /// Numbered from 1; 0: not known.
    using Core = std::atomic<int>;
    static_assert(Core::is_always_lock_free, "atomics must work between processes");

    int rank_;
    int ranks_;
    int here_ = 0;
    Core* cores_;
};

}  // namespace pycoll
