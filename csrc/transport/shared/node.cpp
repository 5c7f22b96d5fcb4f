#include "transport/shared/node.hpp"

#include <algorithm>
#include <utility>

namespace pycoll {
namespace {

constexpr std::size_t page = 4096;

std::size_t whole_pages(std::size_t bytes) { return (bytes + page - 1) / page * page; }

/// One number for all words but the last.
std::uint64_t mixed(const SharedNode::Post& words) {
    std::uint64_t mark = 0;
    for (const std::uint64_t word : std::span(words).first<SharedNode::post_words - 1>()) {
        // The first round of the finaliser of splitmix64 (Steele, Lea and Flood 2014).
        mark = (mark ^ word) * 0xbf58476d1ce4e5b9U;
        mark ^= mark >> 27;
    }
    return mark;
}

}  // namespace

std::size_t SharedNode::bytes(int ranks) {
    return whole_pages(NodeSignals::bytes(ranks) + at(ranks) * 2 * sizeof(Card)) +
           at(ranks) * rank_bytes;
}

SharedNode::SharedNode(std::shared_ptr<std::byte> memory, int rank, std::vector<pid_t> processes)
    : memory_(std::move(memory)),
      rank_(rank),
      processes_(std::move(processes)),
      signals_(memory_.get(), rank, size()),
      cards_(reinterpret_cast<Card*>(memory_.get() + NodeSignals::bytes(size()))),
      stages_(memory_.get() + bytes(size()) - processes_.size() * rank_bytes),
      taken_(processes_.size()),
      seen_(processes_.size()),
      attached_(processes_.size()) {
    for (int peer = 0; peer < size(); ++peer) {
        if (peer != rank_) peers_.push_back(peer);
    }
}

void SharedNode::enter(const Post& what, const Place& input, const Place& output) {
    ++calls_;
    mark_ = mixed(what);
    signals_.enter(calls_, mark_);
    // Whoever reads the card of the call before last is in it; this rank has since had everybody's
    // signal of the last call, so nobody is.
    auto word = card(rank_, calls_).words.begin();
    const auto put = [&](std::uint64_t value) {
        (word++)->store(value, std::memory_order_relaxed);
    };
    std::ranges::for_each(what, put);
    for (const Place& place : {input, output}) {
        put(place.key);
        put(place.segment_bytes);
        put(place.offset);
        put(place.gpu_offset);
    }
}

SharedNode::Place SharedNode::of(const void* data, std::size_t bytes) {
    if (data == nullptr) return {};
    const auto found = SharedHeap::instance().find(data, bytes);
    return found ? at(*found) : hidden();
}

SharedNode::Post SharedNode::posted(int peer) const {
    Post post{};
    const Card& theirs = card(peer, calls_);
    for (std::size_t i = 0; i < post_words; ++i) {
        post[i] = theirs.words[i].load(std::memory_order_relaxed);
    }
    return post;
}

std::optional<SharedNode::Post> SharedNode::last_seen(int peer) const {
    std::optional<Post> last;
    for (std::size_t parity = 0; parity < 2; ++parity) {
        Post post{};
        for (std::size_t i = 0; i < post_words; ++i) {
            post[i] = card(peer, parity).words[i].load(std::memory_order_relaxed);
        }
        // The first word counts calls.
        if (post[0] > 0 && (!last || post[0] > (*last)[0])) last = post;
    }
    return last;
}

SharedNode::Places SharedNode::places(int rank) const {
    const auto& words = card(rank, calls_).words;
    const auto place = [&](std::size_t first) {
        const auto word = [&](std::size_t i) {
            return words[first + i].load(std::memory_order_relaxed);
        };
        return Place{word(0), word(1), word(2), word(3)};
    };
    return {place(post_words), place(post_words + place_words)};
}

bool SharedNode::is_registered(int rank) const {
    const Places both = places(rank);
    return !both.input.is_hidden() && !both.output.is_hidden();
}

std::byte* SharedNode::attach(int peer, const Place& place) {
    if (place.is_absent()) return nullptr;
    const auto descriptor = static_cast<int>(place.key - first_key);
    // Ranks may be threads of one process.
    if (process(peer) == process(rank_)) {
        return SharedHeap::instance().data(descriptor) + place.offset;
    }
    std::vector<Attached>& known = attached_[at(peer)];
    auto found = std::ranges::find(known, descriptor, &Attached::descriptor);
    if (found == known.end()) {
        const SegmentName name{processes_[at(peer)], descriptor, place.segment_bytes};
        known.push_back({descriptor, Segment::attach(name)});
        found = std::prev(known.end());
    }
    return found->segment.data() + place.offset;
}

std::shared_ptr<std::byte> data_of(std::shared_ptr<Segment> segment) {
    std::byte* const data = segment->data();
    return {std::move(segment), data};
}

}  // namespace pycoll
