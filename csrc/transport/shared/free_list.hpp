#pragma once

#include <cstddef>
#include <iterator>
#include <map>
#include <optional>

namespace pycoll {

/// Which parts of a stretch of memory are free. Not thread-safe.
class FreeList {
public:
    explicit FreeList(std::size_t bytes) { free_.emplace(0, bytes); }

    /// The offset, a multiple of `unit`, of so many bytes that are free no longer.
    [[nodiscard]] std::optional<std::size_t> take(std::size_t bytes, std::size_t unit) {
        for (auto it = free_.begin(); it != free_.end(); ++it) {
            const auto [offset, length] = *it;
            const std::size_t start = (offset + unit - 1) / unit * unit;
            if (start + bytes > offset + length) continue;
            free_.erase(it);
            if (start > offset) free_.emplace(offset, start - offset);
            if (const std::size_t left = offset + length - start - bytes; left > 0) {
                free_.emplace(start + bytes, left);
            }
            return start;
        }
        return std::nullopt;
    }

    void give_back(std::size_t offset, std::size_t bytes) {
        auto next = free_.lower_bound(offset);
        if (next != free_.end() && offset + bytes == next->first) {
            bytes += next->second;
            next = free_.erase(next);
        }
        if (next != free_.begin()) {
            const auto previous = std::prev(next);
            if (previous->first + previous->second == offset) {
                previous->second += bytes;
                return;
            }
        }
        free_.emplace(offset, bytes);
    }

private:
    /// Bytes by offset; neighbours are merged.
    std::map<std::size_t, std::size_t> free_;
};

}  // namespace pycoll
