#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace pycoll {

/// Scratch memory that is handed out again and again: a fresh page costs more to touch for the
/// first time than to fold. Not thread-safe.
class BufferPool {
public:
    static constexpr std::size_t alignment = 64;  // one cache line, one AVX-512 register
    /// Returned memory beyond this goes back to the system.
    static constexpr std::size_t max_idle_bytes = std::size_t{32} << 20;

    /// Memory with one owner; empty when default-made, and after it was moved from.
    class Block {
    public:
        Block() = default;
        explicit Block(std::size_t size)
            : memory_(static_cast<std::byte*>(::operator new(size, std::align_val_t{alignment})),
                      Free{size}) {}

        [[nodiscard]] std::byte* data() const { return memory_.get(); }
        [[nodiscard]] std::size_t size() const { return memory_ ? memory_.get_deleter().size : 0; }

    private:
        struct Free {
            std::size_t size;
            void operator()(std::byte* p) const {
                ::operator delete(p, std::align_val_t{alignment});
            }
        };
        std::unique_ptr<std::byte, Free> memory_;
    };

    /// At least `bytes` bytes; an empty block for none.
    [[nodiscard]] Block take(std::size_t bytes) {
        if (bytes == 0) return {};
        // Few different sizes, so that blocks fit again; at most a third is too much.
        std::size_t size = 4096;
        while (size < bytes) size += size / 2;
        for (auto idle = idle_.begin(); idle != idle_.end(); ++idle) {
            if (idle->size() != size) continue;
            Block block = std::move(*idle);
            idle_.erase(idle);
            idle_bytes_ -= size;
            return block;
        }
        return Block(size);
    }

    void give_back(Block block) {
        if (block.size() == 0 || idle_bytes_ + block.size() > max_idle_bytes) return;
        idle_bytes_ += block.size();
        idle_.push_back(std::move(block));
    }

private:
    std::vector<Block> idle_;
    std::size_t idle_bytes_ = 0;
};

}  // namespace pycoll
