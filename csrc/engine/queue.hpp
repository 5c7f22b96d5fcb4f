#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace pycoll {

/// First in, first out. Where it is mostly empty, what comes next lies where the last one was,
/// which a std::deque does not give: it walks through its memory, and frees it as it goes. With
/// ranks that share a core, what a call touches has to come into its caches anew in every call.
template <typename T>
class Queue {
public:
    [[nodiscard]] bool empty() const { return first_ == items_.size(); }
    [[nodiscard]] std::size_t size() const { return items_.size() - first_; }
    [[nodiscard]] T& front() { return items_[first_]; }
    [[nodiscard]] const T& front() const { return items_[first_]; }
    [[nodiscard]] T& back() { return items_.back(); }
    [[nodiscard]] auto begin() const {
        return items_.begin() + static_cast<std::ptrdiff_t>(first_);
    }
    [[nodiscard]] auto end() const { return items_.end(); }

    /// May move those that are there.
    void push_back(T item) { items_.push_back(std::move(item)); }

    void pop_front() {
        items_[first_++] = T();
        if (empty()) return clear();
        // Moves no more than have gone since the last time.
        if (first_ < size()) return;
        items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(first_));
        first_ = 0;
    }

    void clear() {
        items_.clear();
        first_ = 0;
    }

private:
    std::vector<T> items_;
    std::size_t first_ = 0;
};

}  // namespace pycoll
