#include "device_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <new>
#include <string>

namespace fake_cuda {
namespace {

/// Addresses cost nothing: only pages that are touched take memory.
constexpr std::size_t device_bytes = std::size_t{16} << 30;

[[noreturn]] void give_up(const char* what) {
    std::perror(what);
    std::abort();
}

/// Addresses that nobody can touch.
Address reserve(std::size_t bytes) {
    void* const reserved =
        mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) give_up("FAKE CUDA: cannot reserve addresses");
    return reinterpret_cast<Address>(reserved);
}

std::byte* map(int descriptor, std::uint64_t offset, std::size_t bytes) {
    void* const mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                              descriptor, static_cast<off_t>(offset));
    return mapped == MAP_FAILED ? nullptr : static_cast<std::byte*>(mapped);
}

}  // namespace

DeviceMemory::DeviceMemory()
    : descriptor_(memfd_create("fake_cuda", MFD_CLOEXEC)), begin_(reserve(device_bytes)) {
    if (descriptor_ < 0 || ftruncate(descriptor_, device_bytes) != 0) {
        give_up("FAKE CUDA: cannot create a GPU's memory");
    }
    alias_ = map(descriptor_, 0, device_bytes);
    if (alias_ == nullptr) give_up("FAKE CUDA: cannot map a GPU's memory");
}

bool DeviceMemory::contains(Address address) const {
    return begin_ <= address && address < begin_ + device_bytes;
}

std::optional<std::uint64_t> DeviceMemory::find_gap(std::uint64_t from, std::size_t bytes) const {
    std::uint64_t offset = from;
    auto next = taken_.lower_bound(begin_ + offset);
    if (next != taken_.begin()) {
        const auto& before = std::prev(next)->second;
        offset = std::max(offset, before.piece.offset + in_pages(before.bytes));
    }
    for (; next != taken_.end(); ++next) {
        const auto& [piece, length] = next->second;
        if (offset + bytes <= piece.offset - header_bytes) return offset;
        offset = piece.offset + in_pages(length);
    }
    if (offset + bytes > device_bytes) return std::nullopt;
    return offset;
}

std::optional<Piece> DeviceMemory::allocate(std::size_t bytes) {
    if (bytes > device_bytes) return std::nullopt;
    const std::size_t needed = header_bytes + in_pages(bytes);
    auto gap = find_gap(next_, needed);
    if (!gap) gap = find_gap(0, needed);
    if (!gap) return std::nullopt;
    next_ = *gap + needed;
    const std::uint64_t offset = *gap + header_bytes;
    const Piece piece{begin_ + offset, alias_ + offset, offset, ++serials_};
    Header& header = *new (piece.alias - header_bytes) Header{};
    header.serial = piece.serial;
    taken_.emplace(piece.begin, Taken{piece, bytes});
    return piece;
}

void DeviceMemory::free(Address begin) {
    const auto found = taken_.find(begin);
    const auto& [piece, bytes] = found->second;
    header_of(piece.alias).serial = 0;
    // A hint: the pages go back to the system.
    static_cast<void>(fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                static_cast<off_t>(piece.offset),
                                static_cast<off_t>(in_pages(bytes))));
    taken_.erase(found);
}

std::optional<MappedPiece> MappedPiece::open(const Name& name) {
    const std::string path =
        "/proc/" + std::to_string(name.owner) + "/fd/" + std::to_string(name.descriptor);
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor < 0) return std::nullopt;
    MappedPiece mapped;
    mapped.bytes_ = header_bytes + in_pages(name.bytes);
    mapped.mapped_ = map(descriptor, name.offset - header_bytes, mapped.bytes_);
    ::close(descriptor);
    if (mapped.mapped_ == nullptr) return std::nullopt;
    Header& header = header_of(mapped.alias());
    if (header.serial != name.serial) {
        munmap(mapped.mapped_, mapped.bytes_);
        return std::nullopt;
    }
    ++header.mappings;
    mapped.begin_ = reserve(mapped.bytes_);
    return mapped;
}

void MappedPiece::close() {
    --header_of(alias()).mappings;
    munmap(mapped_, bytes_);
    munmap(reinterpret_cast<void*>(begin_), bytes_);
}

}  // namespace fake_cuda
