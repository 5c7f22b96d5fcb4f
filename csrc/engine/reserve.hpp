#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "engine/gpu_side.hpp"

namespace pycoll {

/// Memory that one operation has taken from a pool before it begins, and goes on using. Whatever
/// gets memory of a GPU, or memory that is pinned for one, may wait for all streams of the GPU;
/// some may wait for the operation by then.
class Reserve {
public:
    explicit Reserve(SharedPool& pool) : pool_(pool) {}
    ~Reserve() {
        for (BufferPool::Block& block : blocks_) pool_.give_back(std::move(block));
    }
    Reserve(const Reserve&) = delete;
    Reserve& operator=(const Reserve&) = delete;

    /// One more block of so many bytes.
    void add(std::size_t bytes) {
        if (bytes > 0) blocks_.push_back(pool_.take(bytes));
    }
    /// At least so many bytes; an empty block for none.
    [[nodiscard]] BufferPool::Block take(std::size_t bytes) {
        if (bytes == 0) return {};
        auto best = blocks_.end();
        for (auto it = blocks_.begin(); it != blocks_.end(); ++it) {
            const bool fits = it->size() >= bytes;
            if (fits && (best == blocks_.end() || it->size() < best->size())) best = it;
        }
        if (best == blocks_.end()) return pool_.take(bytes);
        BufferPool::Block block = std::move(*best);
        blocks_.erase(best);
        return block;
    }
    void give_back(BufferPool::Block block) {
        if (block.size() > 0) blocks_.push_back(std::move(block));
    }

private:
    SharedPool& pool_;
    std::vector<BufferPool::Block> blocks_;
};

}  // namespace pycoll
