#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "results.hpp"
#include "shared_uses.hpp"

namespace fake_cuda {

/// What precedes each allocation in a GPU's memory, for other processes that map it.
struct Header {
    /// A number of its own; 0 when it has been freed.
    std::atomic<std::uint64_t> serial;
    std::atomic<int> mappings;
    SharedUses uses;
};
inline constexpr std::size_t header_bytes = 4096;
static_assert(sizeof(Header) <= header_bytes);

/// Of the allocation that this library sees there.
[[nodiscard]] inline Header& header_of(std::byte* alias) {
    return *reinterpret_cast<Header*>(alias - header_bytes);
}

/// A piece of a GPU's memory, as its owner knows it.
struct Piece {
    Address begin;
    std::byte* alias;
    /// In the memory file.
    std::uint64_t offset;
    std::uint64_t serial;
};

/// The memory of one GPU, as one process uses it: a file in memory that is mapped where only this
/// library knows, beside a range of addresses of the same length that nobody can touch. Freed
/// addresses are used again as late as possible, so that what still uses them is found out.
class DeviceMemory {
public:
    DeviceMemory();

    [[nodiscard]] std::optional<Piece> allocate(std::size_t bytes);
    void free(Address begin);
    [[nodiscard]] const Piece& piece(Address begin) const { return taken_.at(begin).piece; }
    /// Is it an address of this memory, allocated or not?
    [[nodiscard]] bool contains(Address address) const;
    [[nodiscard]] int descriptor() const { return descriptor_; }

private:
    struct Taken {
        Piece piece;
        std::size_t bytes;
    };

    /// Where so many bytes are free, from an offset on.
    [[nodiscard]] std::optional<std::uint64_t> find_gap(std::uint64_t from,
                                                        std::size_t bytes) const;

    int descriptor_;
    std::byte* alias_;
    Address begin_;
    std::map<Address, Taken> taken_;
    std::uint64_t next_ = 0;
    std::uint64_t serials_ = 0;
};

/// Another process's piece, mapped into this one.
class MappedPiece {
public:
    /// Where a piece is to be found, for other processes. At most 64 bytes.
    struct Name {
        std::uint32_t mark;
        pid_t owner;
        int descriptor;
        int device;
        std::uint64_t offset;
        std::uint64_t bytes;
        std::uint64_t serial;
        bool operator==(const Name&) const = default;
    };
    static constexpr std::uint32_t mark = 0xfacecafe;

    /// Nothing where the memory is gone.
    [[nodiscard]] static std::optional<MappedPiece> open(const Name& name);
    void close();

    [[nodiscard]] Address begin() const { return begin_; }
    [[nodiscard]] std::byte* alias() const { return mapped_ + header_bytes; }

private:
    std::byte* mapped_ = nullptr;
    Address begin_ = 0;
    std::size_t bytes_ = 0;
};

/// Rounded up to whole pages.
[[nodiscard]] constexpr std::size_t in_pages(std::size_t bytes) {
    constexpr std::size_t page = 4096;
    return (bytes + page - 1) / page * page;
}

}  // namespace fake_cuda
