#include "transport/shared/heap.hpp"

#include <algorithm>
#include <cstring>

namespace pycoll {
namespace {

std::size_t rounded_up(std::size_t bytes, std::size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

}  // namespace

SharedHeap& SharedHeap::instance() {
    // Never destroyed: arrays may outlive everything else.
    static SharedHeap& heap = *[] {
        copy_on_fork();
        return std::make_unique<SharedHeap>().release();
    }();
    return heap;
}

std::shared_ptr<std::byte> SharedHeap::allocate(std::size_t bytes) {
    return {take(bytes), [this](const std::byte* freed) { give_back(freed); }};
}

std::byte* SharedHeap::take(std::size_t bytes, Content content) {
    // Whole pages for whatever has some, so that they can be given back.
    const std::size_t unit = bytes >= page ? page : alignment;
    const std::size_t size = rounded_up(std::max<std::size_t>(bytes, 1), unit);
    const std::lock_guard lock(mutex_);
    std::byte* data = nullptr;
    for (const auto& arena : arenas_) {
        data = take_from(*arena, size, content);
        if (data != nullptr) break;
    }
    if (data == nullptr) data = take_from(add_arena(size), size, content);
    used_.emplace(data, size);
    return data;
}

std::byte* SharedHeap::take_from(Arena& arena, std::size_t bytes, Content content) {
    const auto offset = arena.free.take(bytes, bytes >= page ? page : alignment);
    if (!offset) return nullptr;
    count_as_used(arena, {*offset, bytes}, content);
    return arena.segment.data() + *offset;
}

SharedHeap::Arena& SharedHeap::add_arena(std::size_t least_bytes) {
    std::size_t all = 0;
    for (const auto& arena : arenas_) all += arena->segment.bytes();
    const std::size_t bytes = std::max({least_bytes, all, segment_bytes});
    auto arena = std::make_unique<Arena>(rounded_up(bytes, page));
    const auto first = reinterpret_cast<std::uintptr_t>(arena->segment.data());
    lowest_.store(std::min(lowest_.load(), first));
    highest_.store(std::max(highest_.load(), first + arena->segment.bytes()));
    return *arenas_.emplace_back(std::move(arena));
}

void SharedHeap::give_back(const std::byte* data) {
    const std::lock_guard lock(mutex_);
    const auto used = used_.find(data);
    Extent extent{0, used->second};
    used_.erase(used);
    const auto owner = std::ranges::find_if(
        arenas_, [&](const auto& arena) { return arena->segment.contains(data); });
    Arena& arena = **owner;
    extent.offset = static_cast<std::size_t>(data - arena.segment.data());
    discard_idle(arena, extent);
    arena.free.give_back(extent.offset, extent.bytes);
}

std::size_t SharedHeap::taken_at(const void* data) const {
    const auto address = reinterpret_cast<std::uintptr_t>(data);
    if (address < lowest_.load(std::memory_order_relaxed) ||
        address >= highest_.load(std::memory_order_relaxed)) {
        return 0;
    }
    const std::lock_guard lock(mutex_);
    const auto used = used_.find(static_cast<const std::byte*>(data));
    return used == used_.end() ? 0 : used->second;
}

/// Keeps what was just freed for the next allocation, unless much is kept already: a fresh page
/// costs more to touch for the first time than to fold.
void SharedHeap::discard_idle(Arena& arena, const Extent& extent) {
    const bool is_much = extent.bytes >= page && idle_bytes_ + extent.bytes > max_idle_bytes;
    if (!is_much || !arena.segment.discard(extent.offset, extent.bytes)) {
        idle_bytes_ += extent.bytes;
        arena.idle.emplace(extent.offset, extent.bytes);
    }
}

/// Takes an extent out of what is idle, wherever parts of it are. The rest of it reads as zeros.
void SharedHeap::count_as_used(Arena& arena, const Extent& extent, Content content) {
    const std::size_t stop = extent.offset + extent.bytes;
    auto it = arena.idle.lower_bound(extent.offset);
    if (it != arena.idle.begin() && std::prev(it)->first + std::prev(it)->second > extent.offset) {
        --it;
    }
    while (it != arena.idle.end() && it->first < stop) {
        const std::size_t first = it->first;
        const std::size_t last = first + it->second;
        it = arena.idle.erase(it);
        if (first < extent.offset) arena.idle.emplace(first, extent.offset - first);
        if (last > stop) it = arena.idle.emplace(stop, last - stop).first;
        const std::size_t begin = std::max(first, extent.offset);
        const std::size_t bytes = std::min(last, stop) - begin;
        idle_bytes_ -= bytes;
        if (content == Content::zeros) std::memset(arena.segment.data() + begin, 0, bytes);
    }
}

std::byte* SharedHeap::data(int descriptor) const {
    const std::lock_guard lock(mutex_);
    for (const auto& arena : arenas_) {
        if (arena->segment.name().descriptor == descriptor) return arena->segment.data();
    }
    return nullptr;
}

std::optional<Location> SharedHeap::find(const void* data, std::size_t bytes) const {
    const auto* const begin = static_cast<const std::byte*>(data);
    const std::lock_guard lock(mutex_);
    for (const auto& arena : arenas_) {
        const Segment& segment = arena->segment;
        if (!segment.contains(begin) || !segment.has_name()) continue;
        const auto offset = static_cast<std::size_t>(begin - segment.data());
        if (bytes > segment.bytes() - offset) return std::nullopt;
        return Location{segment.name(), offset};
    }
    return std::nullopt;
}

}  // namespace pycoll
