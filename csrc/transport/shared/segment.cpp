#include "transport/shared/segment.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <system_error>

namespace pycoll {
namespace {

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

/// Addresses where `bytes` bytes can be mapped, such that no two of the segments of this process
/// lie a multiple of `period` apart, if there are no more than period / shift; null to leave the
/// choice to the system.
///
/// What ranks do alike lies at the same places in the segments of all of them, and the processor
/// finds a line in its first-level cache by a part of its address: on AMD by a hash of the bits 12
/// to 27, and of two lines with the same hash only one can be found at a time (of Zen and Zen 2:
/// Lipp et al. 2020, Take A Way, AsiaCCS). Left alone, the system maps segments of 256 MiB side by
/// side. To fold 256 KiB of two ranks into both took 7.6 us so, and 3.0 us with any other distance
/// (Zen 4).
void* find_place(std::size_t bytes) {
    constexpr std::size_t period = std::size_t{1} << 28;
    // A large page, lest a segment begins within one.
    constexpr std::size_t shift = std::size_t{2} << 20;
    static std::atomic<std::size_t> segments = 0;
    void* const all = mmap(nullptr, bytes + period, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) return nullptr;
    const std::size_t skip =
        (segments.fetch_add(1) * shift - reinterpret_cast<std::uintptr_t>(all)) % period;
    munmap(all, bytes + period);
    return static_cast<std::byte*>(all) + skip;
}

std::byte* map(int descriptor, std::size_t bytes) {
    // Only a wish: should another thread have mapped something there meanwhile, the system chooses.
    void* const data =
        mmap(find_place(bytes), bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (data == MAP_FAILED) fail("cannot map " + std::to_string(bytes) + " bytes of shared memory");
    return static_cast<std::byte*>(data);
}

}  // namespace

Segment Segment::create(std::size_t bytes) {
    Segment segment;
    segment.owner_ = getpid();
    segment.descriptor_ = memfd_create("pycoll", MFD_CLOEXEC);
    if (segment.descriptor_ < 0) fail("cannot create shared memory");
    if (fchmod(segment.descriptor_, 0600) != 0 ||
        ftruncate(segment.descriptor_, static_cast<off_t>(bytes)) != 0) {
        fail("cannot create " + std::to_string(bytes) + " bytes of shared memory");
    }
    segment.data_ = map(segment.descriptor_, bytes);
    segment.bytes_ = bytes;
    return segment;
}

Segment Segment::attach(const SegmentName& name) {
    const std::string path =
        "/proc/" + std::to_string(name.owner) + "/fd/" + std::to_string(name.descriptor);
    const int descriptor = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor < 0) {
        fail("cannot open the shared memory of process " + std::to_string(name.owner));
    }
    Segment segment;
    segment.descriptor_ = descriptor;
    segment.data_ = map(descriptor, name.bytes);
    segment.bytes_ = name.bytes;
    segment.close_name();
    return segment;
}

Segment::~Segment() {
    if (data_ != nullptr) munmap(data_, bytes_);
    close_name();
}

void Segment::close_name() {
    if (descriptor_ >= 0) close(descriptor_);
    descriptor_ = -1;
}

bool Segment::discard(std::size_t offset, std::size_t bytes) const {
    if (!has_name()) return madvise(data_ + offset, bytes, MADV_DONTNEED) == 0;
    return fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     static_cast<off_t>(offset), static_cast<off_t>(bytes)) == 0;
}

bool Segment::make_private() {
    void* const own = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (own == MAP_FAILED) return false;
    // To read where there is nothing yet would fill it with pages. Where the system cannot tell,
    // the rest is copied as a whole.
    const auto end = static_cast<off_t>(bytes_);
    for (off_t stop = 0; stop < end;) {
        off_t start = lseek(descriptor_, stop, SEEK_DATA);
        if (start < 0 && errno == ENXIO) break;
        if (start < 0) start = stop;
        stop = lseek(descriptor_, start, SEEK_HOLE);
        if (stop < 0) stop = end;
        std::memcpy(static_cast<std::byte*>(own) + start, data_ + start,
                    static_cast<std::size_t>(stop - start));
    }
    if (mremap(own, bytes_, bytes_, MREMAP_MAYMOVE | MREMAP_FIXED, data_) == MAP_FAILED) {
        munmap(own, bytes_);
        return false;
    }
    close_name();
    return true;
}

SegmentName Segment::name() const { return {owner_, descriptor_, bytes_}; }

}  // namespace pycoll
