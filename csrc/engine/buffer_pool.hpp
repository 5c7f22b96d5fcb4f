#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "device/memory_source.hpp"

namespace pycoll {

/// Scratch memory that is handed out again and again: a fresh page costs more to touch for the
/// first time than to fold, and memory of a GPU more to get than to fill. Not thread-safe.
class BufferPool {
public:
    /// Returned memory beyond this goes back to where it came from.
    static constexpr std::size_t default_idle_bytes = std::size_t{32} << 20;

    /// Memory with one owner; empty when default-made, and after it was moved from.
    class Block {
    public:
        Block() = default;
        Block(MemorySource& source, std::size_t size)
            : source_(&source), data_(source.allocate(size)), size_(size) {}
        Block(Block&& other) noexcept { swap(other); }
        Block& operator=(Block&& other) noexcept {
            Block taken(std::move(other));
            swap(taken);
            return *this;
        }
        Block(const Block&) = delete;
        Block& operator=(const Block&) = delete;
        ~Block() {
            if (data_ != nullptr) source_->free(data_);
        }

        [[nodiscard]] std::byte* data() const { return data_; }
        [[nodiscard]] std::size_t size() const { return size_; }

    private:
        void swap(Block& other) noexcept {
            std::swap(source_, other.source_);
            std::swap(data_, other.data_);
            std::swap(size_, other.size_);
        }

        MemorySource* source_ = nullptr;
        std::byte* data_ = nullptr;
        std::size_t size_ = 0;
    };

    /// `source` must outlive all blocks.
    explicit BufferPool(MemorySource& source = HostMemory::instance(),
                        std::size_t max_idle_bytes = default_idle_bytes)
        : source_(source), max_idle_bytes_(max_idle_bytes) {}

    /// What a block of at least so many bytes is long. There are few different sizes, so that
    /// blocks fit again; at most a third is too much.
    [[nodiscard]] static std::size_t block_size(std::size_t bytes) {
        std::size_t size = 4096;
        while (size < bytes) size += size / 2;
        return size;
    }

    /// At least `bytes` bytes; an empty block for none.
    [[nodiscard]] Block take(std::size_t bytes) {
        if (bytes == 0) return {};
        Block block = take_idle(bytes);
        return block.size() > 0 ? std::move(block) : Block(source_, block_size(bytes));
    }
    /// The same of what was given back; an empty block if there is no such.
    [[nodiscard]] Block take_idle(std::size_t bytes) {
        if (bytes == 0) return {};
        const std::size_t size = block_size(bytes);
        for (auto idle = idle_.begin(); idle != idle_.end(); ++idle) {
            if (idle->size() != size) continue;
            Block block = std::move(*idle);
            idle_.erase(idle);
            idle_bytes_ -= size;
            return block;
        }
        return {};
    }

    void give_back(Block block) {
        if (block.size() == 0 || block.size() > max_idle_bytes_ - idle_bytes_) return;
        idle_bytes_ += block.size();
        idle_.push_back(std::move(block));
    }

private:
    MemorySource& source_;
    std::size_t max_idle_bytes_;
    std::vector<Block> idle_;
    std::size_t idle_bytes_ = 0;
};

}  // namespace pycoll
