#pragma once

#include <cstddef>
#include <new>

namespace pycoll {

/// Where blocks of memory come from.
class MemorySource {
public:
    static constexpr std::size_t alignment = 64;  // one cache line, one AVX-512 register

    MemorySource() = default;
    MemorySource(const MemorySource&) = delete;
    MemorySource& operator=(const MemorySource&) = delete;
    virtual ~MemorySource() = default;

    /// Throws when there is no more.
    [[nodiscard]] virtual std::byte* allocate(std::size_t bytes) = 0;
    virtual void free(std::byte* memory) noexcept = 0;
};

/// The memory of this process.
class HostMemory final : public MemorySource {
public:
    static HostMemory& instance() {
        static HostMemory memory;
        return memory;
    }
    [[nodiscard]] std::byte* allocate(std::size_t bytes) override {
        return static_cast<std::byte*>(::operator new(bytes, std::align_val_t{alignment}));
    }
    void free(std::byte* memory) noexcept override {
        ::operator delete(memory, std::align_val_t{alignment});
    }
};

}  // namespace pycoll
