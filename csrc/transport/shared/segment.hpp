#pragma once

#include <sys/types.h>

#include <cstddef>
#include <utility>

namespace pycoll {

/// What memory is mapped in.
inline constexpr std::size_t page = 4096;

/// How another process of this node finds a segment.
struct SegmentName {
    pid_t owner = 0;
    int descriptor = -1;
    std::size_t bytes = 0;
};

/// Memory that several processes of one node map. It has no name in any file system: the kernel
/// frees it when the last process that maps it ends, however it ends (kill -9 included).
class Segment {
public:
    Segment() = default;
    /// Makes a new one, filled with zeros, for this user only.
    /// Throws std::system_error when the memory is not to be had.
    [[nodiscard]] static Segment create(std::size_t bytes);
    /// Maps the one of another process, which must still have it.
    /// Throws std::system_error when the owner is gone, or out of reach (another user, or another
    /// process namespace).
    [[nodiscard]] static Segment attach(const SegmentName& name);

    Segment(Segment&& other) noexcept { swap(other); }
    Segment& operator=(Segment&& other) noexcept {
        swap(other);
        return *this;
    }
    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;
    ~Segment();

    [[nodiscard]] std::byte* data() const { return data_; }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }
    [[nodiscard]] bool contains(const void* pointer) const {
        const auto* at = static_cast<const std::byte*>(pointer);
        return at >= data_ && at < data_ + bytes_;
    }
    /// Valid while this process has the segment and has not closed its name. Only for segments it
    /// created.
    [[nodiscard]] SegmentName name() const;
    [[nodiscard]] bool has_name() const { return descriptor_ >= 0; }
    /// From now on nobody can attach any more; who has, keeps the memory.
    void close_name();
    /// Gives the physical memory of whole pages back; they read as zeros from now on. Only for
    /// segments it created. False where the system cannot.
    [[nodiscard]] bool discard(std::size_t offset, std::size_t bytes) const;
    /// Puts memory of this process alone in its place, at the same addresses and with the same
    /// content; closes the name. False where there is no such memory.
    [[nodiscard]] bool make_private();

private:
    void swap(Segment& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        std::swap(descriptor_, other.descriptor_);
        std::swap(owner_, other.owner_);
    }

    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
    int descriptor_ = -1;
    /// Kept, since asking for it is a system call.
    pid_t owner_ = 0;
};

}  // namespace pycoll
