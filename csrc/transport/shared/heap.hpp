#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "transport/shared/free_list.hpp"
#include "transport/shared/segment.hpp"

namespace pycoll {

/// Where something lies in memory that other processes of the node can attach.
struct Location {
    SegmentName segment;
    std::size_t offset = 0;
};

/// The registered memory of this process: what it hands out, every process of the node can see.
///
/// Blocks are cut from few large segments, which are kept until the process ends, since file
/// descriptors are scarce and peers have the segments mapped. The physical memory of blocks that
/// nobody uses is given back beyond `max_idle_bytes`. All members may be called from any thread.
///
/// A process that fork() makes must not see what its parent goes on to write, nor the other way
/// round: it gets copies of the blocks in use, in memory of its own, while its parent waits.
class SharedHeap {
public:
    static constexpr std::size_t alignment = 64;
    /// Of the first segment; each other one is at least as long as all before it. Address space,
    /// not memory: pages are there once they are touched.
    static constexpr std::size_t segment_bytes = std::size_t{256} << 20;
    static constexpr std::size_t max_idle_bytes = std::size_t{64} << 20;
    /// NumPy's arrays of this length and more lie here, unless that is switched off. Shorter ones
    /// go through the stages as fast as anywhere else.
    static constexpr std::size_t least_numpy_bytes = std::size_t{16} << 10;

    /// The one of this process.
    static SharedHeap& instance();

    SharedHeap() = default;
    SharedHeap(const SharedHeap&) = delete;
    SharedHeap& operator=(const SharedHeap&) = delete;

    /// Memory that goes back to the heap with its last owner, whichever thread that is.
    /// Throws std::system_error when there is no more.
    [[nodiscard]] std::shared_ptr<std::byte> allocate(std::size_t bytes);

    enum class Content { undefined, zeros };
    /// Memory for whoever keeps track of it. Throws std::system_error when there is no more.
    [[nodiscard]] std::byte* take(std::size_t bytes, Content content = Content::undefined);
    /// Takes back what take() gave.
    void give_back(const std::byte* data);
    /// Bytes of what take() gave at this address, at least as many as were asked for; 0 for an
    /// address that it did not give, which costs next to nothing where it is far from all segments.
    [[nodiscard]] std::size_t taken_at(const void* data) const;

    /// Where this process has the segment of that descriptor; null if it is not of this heap.
    [[nodiscard]] std::byte* data(int descriptor) const;
    /// Where the bytes lie, if all of them are in the heap.
    [[nodiscard]] std::optional<Location> find(const void* data, std::size_t bytes) const;

private:
    struct Extent {
        std::size_t offset;
        std::size_t bytes;
    };
    struct Arena {
        explicit Arena(std::size_t bytes) : segment(Segment::create(bytes)), free(bytes) {}

        Segment segment;
        FreeList free;
        /// Those parts of it, by offset, that have not been given back to the system.
        std::map<std::size_t, std::size_t> idle = {};
    };

    [[nodiscard]] std::byte* take_from(Arena& arena, std::size_t bytes, Content content);
    [[nodiscard]] Arena& add_arena(std::size_t least_bytes);
    void discard_idle(Arena& arena, const Extent& extent);
    void count_as_used(Arena& arena, const Extent& extent, Content content);

    // Around fork(), for the heap of this process: in heap_fork.cpp.
    static void copy_on_fork();
    void become_private();

    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<Arena>> arenas_;
    /// Of the addresses of all segments, for a look without the lock.
    std::atomic<std::uintptr_t> lowest_ = std::numeric_limits<std::uintptr_t>::max();
    std::atomic<std::uintptr_t> highest_ = 0;
    /// Bytes of what is handed out.
    std::map<const std::byte*, std::size_t> used_;
    /// Of all arenas.
    std::size_t idle_bytes_ = 0;
};

}  // namespace pycoll
