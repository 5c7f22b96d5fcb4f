#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

namespace fake_cuda {

/// What programs hold of objects: numbers that are never used again, so that no handle of a
/// destroyed object passes for another's.
template <typename Object, typename Handle>
class Handles {
public:
    explicit Handles(std::uintptr_t first) : next_(first) {}

    Handle add(std::shared_ptr<Object> object) {
        const auto handle = reinterpret_cast<Handle>(next_ += 16);
        objects_.emplace(handle, std::move(object));
        return handle;
    }
    /// Null for what is none.
    [[nodiscard]] std::shared_ptr<Object> find(Handle handle) const {
        const auto found = objects_.find(handle);
        return found == objects_.end() ? nullptr : found->second;
    }
    std::shared_ptr<Object> remove(Handle handle) {
        const std::shared_ptr<Object> object = find(handle);
        objects_.erase(handle);
        return object;
    }
    template <typename Predicate>
    void remove_if(Predicate&& predicate) {
        std::erase_if(objects_, [&](const auto& entry) { return predicate(*entry.second); });
    }
    [[nodiscard]] std::size_t size() const { return objects_.size(); }

private:
    std::uintptr_t next_;
    std::map<Handle, std::shared_ptr<Object>> objects_;
};

}  // namespace fake_cuda
