// Registered memory: handed out without overlaps, found again, reused, and given back.

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "engine_ranks.hpp"
#include "transport/shared/heap.hpp"

namespace pycoll::test::transport_heap {
namespace {

using Block = std::shared_ptr<std::byte>;

/// A block filled with a value of its own.
struct Filled {
    Block block;
    std::size_t bytes;
    std::byte value;

    void check_whole() const {
        check(std::all_of(block.get(), block.get() + bytes,
                          [&](std::byte byte) { return byte == value; }),
              "a block was written by another");
    }
};

/// Takes and drops blocks at random; what each holds must stay.
void use_at_random(SharedHeap& heap, unsigned seed, int rounds) {
    std::mt19937 random(seed);
    std::vector<Filled> held;
    for (int round = 0; round < rounds; ++round) {
        if (held.size() > 20 || (!held.empty() && random() % 2 == 0)) {
            std::swap(held[random() % held.size()], held.back());
            held.back().check_whole();
            held.pop_back();
            continue;
        }
        const std::size_t bytes = random() % 4 == 0 ? random() % 50'000 : random() % 300;
        const Filled filled{heap.allocate(bytes), bytes, static_cast<std::byte>(random())};
        check_equal(reinterpret_cast<std::uintptr_t>(filled.block.get()) % SharedHeap::alignment,
                    std::uintptr_t{0}, "alignment");
        std::fill_n(filled.block.get(), bytes, filled.value);
        held.push_back(filled);
    }
    for (const Filled& filled : held) filled.check_whole();
}

const Test at_random("heap: blocks taken and dropped in any order, by any thread, never overlap",
                     [] {
                         SharedHeap heap;
                         on_ranks(3, [&](int thread) {
                             use_at_random(heap, static_cast<unsigned>(thread), 2000);
                         });
                         // All of it is one free piece again: this must not need a second segment.
                         const Block all = heap.allocate(SharedHeap::segment_bytes);
                         const Block more = heap.allocate(1);
                         check(heap.find(all.get(), 1)->segment.descriptor !=
                                   heap.find(more.get(), 1)->segment.descriptor,
                               "more than a segment in one");
                         const auto first = heap.find(all.get(), SharedHeap::segment_bytes);
                         check(first && first->offset == 0, "pieces were lost");
                     });

const Test found("heap: slices are found where they lie, and nothing else is", [] {
    SharedHeap heap;
    const Block before = heap.allocate(100);
    const Block block = heap.allocate(10'000);
    const auto whole = heap.find(block.get(), 10'000);
    check(whole.has_value(), "not found");
    check_equal(whole->segment.bytes, std::size_t{SharedHeap::segment_bytes});
    check(heap.data(whole->segment.descriptor) + whole->offset == block.get(), "elsewhere");
    const auto slice = heap.find(block.get() + 77, 1);
    check(slice && slice->offset == whole->offset + 77, "a slice");
    check(heap.find(block.get(), 0).has_value(), "nothing of it");
    check(!heap.find(block.get(), SharedHeap::segment_bytes), "beyond the end");
    const std::vector<std::byte> plain(100);
    check(!heap.find(plain.data(), plain.size()), "plain memory");
    check(!heap.find(nullptr, 0), "nothing at all");
    check(heap.data(-1) == nullptr, "no such segment");
    check(!SharedHeap().find(block.get(), 1), "of another heap");
});

const Test attached("heap: what a peer attaches by name is the same memory", [] {
    SharedHeap heap;
    const Block block = heap.allocate(5000);
    const auto location = heap.find(block.get(), 5000);
    const Segment peer = Segment::attach(location->segment);
    block.get()[4999] = std::byte{7};
    check(peer.data()[location->offset + 4999] == std::byte{7}, "other memory");
    peer.data()[location->offset] = std::byte{9};
    check(block.get()[0] == std::byte{9}, "other memory");
});

const Test no_name("segment: without its name nobody can attach, and it goes on", [] {
    Segment segment = Segment::create(8192);
    const SegmentName name = segment.name();
    segment.close_name();
    check_throws<std::system_error>([&] { (void)Segment::attach(name); },
                                    "cannot open the shared memory of process");
    segment.data()[8191] = std::byte{1};
    const Segment moved = std::move(segment);
    check(moved.data()[8191] == std::byte{1} && segment.data() == nullptr, "moved");
});

const Test tellable(
    "segment: the same place in two of them is never a multiple of 256 MiB apart", [] {
        constexpr std::size_t bytes = std::size_t{256} << 20;
        std::vector<Segment> segments;
        std::set<std::uintptr_t> places;
        for (std::size_t k = 0; k < 32; ++k) {
            segments.push_back(k % 2 == 0 ? Segment::create(bytes)
                                          : Segment::attach(segments.back().name()));
            places.insert(reinterpret_cast<std::uintptr_t>(segments.back().data()) % bytes);
            check_equal(places.size(), k + 1);
        }
    });

const Test gone("segment: a process that is gone is named", [] {
    check_throws<std::system_error>([] { (void)Segment::attach({1 << 30, 3, 4096}); },
                                    "cannot open the shared memory of process 1073741824");
});

/// Physical memory of a segment.
std::size_t resident(const SegmentName& name) {
    struct stat status{};
    check(fstat(name.descriptor, &status) == 0, "fstat");
    return static_cast<std::size_t>(status.st_blocks) * 512;
}

const Test reused("heap: memory that was dropped is handed out again", [] {
    SharedHeap heap;
    Block block = heap.allocate(1 << 20);
    const std::byte* const memory = block.get();
    const Block next = heap.allocate(100);
    block.reset();
    block = heap.allocate(1 << 20);
    check(block.get() == memory, "somewhere else");
});

const Test given_back("heap: in whatever order blocks are dropped, the system gets most back", [] {
    constexpr std::size_t bytes = std::size_t{16} << 20;
    SharedHeap heap;
    std::vector<Block> blocks(6);
    for (Block& block : blocks) {
        block = heap.allocate(bytes);
        std::memset(block.get(), 1, bytes);
    }
    const SegmentName name = heap.find(blocks[0].get(), 1)->segment;
    check(resident(name) >= 6 * bytes, "untouched");
    for (const std::size_t i : {5, 4, 3, 2, 1, 0}) blocks[i].reset();
    check(resident(name) <= SharedHeap::max_idle_bytes, "not given back");
    // Blocks that come and go.
    for (int round = 0; round < 6; ++round) {
        const auto count = static_cast<std::size_t>(round % 3 + 1);
        for (std::size_t i = 0; i < count; ++i) {
            blocks[i] = heap.allocate(bytes);
            std::memset(blocks[i].get(), 1, bytes);
        }
        for (std::size_t i = 0; i < count; ++i) blocks[i].reset();
        check(resident(name) <= SharedHeap::max_idle_bytes,
              "round " + std::to_string(round) + ": " + std::to_string(resident(name) >> 20) +
                  " MiB are kept");
    }
});

const Test larger("heap: a block longer than a segment gets one of its own", [] {
    SharedHeap heap;
    constexpr std::size_t bytes = SharedHeap::segment_bytes + 1;
    const Block block = heap.allocate(bytes);
    block.get()[bytes - 1] = std::byte{1};
    check(heap.find(block.get(), bytes).has_value(), "not found");
    check(!heap.find(block.get(), bytes + 4096), "beyond its end");
});

const Test zeros("heap: zeros are zeros, also where others wrote before", [] {
    SharedHeap heap;
    std::mt19937 random(3);
    std::vector<Block> held;
    for (int round = 0; round < 300; ++round) {
        const std::size_t bytes = random() % 60'000;
        std::byte* const data = heap.take(bytes, SharedHeap::Content::zeros);
        check(std::all_of(data, data + bytes, [](std::byte byte) { return byte == std::byte{}; }),
              "not zeros");
        std::fill_n(data, bytes, std::byte{1});
        held.emplace_back(data, [&heap](const std::byte* freed) { heap.give_back(freed); });
        if (held.size() > 8) held.erase(held.begin() + random() % 8);
    }
});

const Test taken("heap: what was taken is known by its address, with its length", [] {
    SharedHeap heap;
    check_equal(heap.taken_at(&heap), std::size_t{0}, "in an empty heap");
    std::byte* const data = heap.take(5000);
    check(heap.taken_at(data) >= 5000, "taken");
    check_equal(heap.taken_at(data + 64), std::size_t{0}, "in the middle");
    check_equal(heap.taken_at(&heap), std::size_t{0}, "elsewhere");
    heap.give_back(data);
    check_equal(heap.taken_at(data), std::size_t{0}, "given back");
});

const Test longer_segments("heap: segments get longer, so that they stay few", [] {
    SharedHeap heap;
    std::vector<Block> blocks;
    std::vector<int> descriptors;
    for (int i = 0; i < 64; ++i) {
        blocks.push_back(heap.allocate(SharedHeap::segment_bytes / 2));
        descriptors.push_back(heap.find(blocks.back().get(), 1)->segment.descriptor);
    }
    std::ranges::sort(descriptors);
    const auto repeated = std::ranges::unique(descriptors);
    descriptors.erase(repeated.begin(), repeated.end());
    check(descriptors.size() <= 6, std::to_string(descriptors.size()) + " segments");
});

}  // namespace
}  // namespace pycoll::test::transport_heap
