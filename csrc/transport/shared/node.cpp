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

/// In place of a descriptor.
constexpr std::uint64_t private_array = 0;
constexpr std::uint64_t no_array = 1;
constexpr std::uint64_t first_descriptor = 2;

/// A stage with its two slots.
constexpr std::size_t rank_bytes = 2 * SharedNode::slot_bytes + SharedNode::stage_bytes;

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
      attached_(processes_.size()) {}

void SharedNode::enter(const Post& what, const Array& input, const Array& output) {
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
    std::ranges::for_each(place(input), put);
    std::ranges::for_each(place(output), put);
}

/// How an array is named on a card: the descriptor of its segment, plus `first_descriptor`, the
/// bytes of the segment, and the offset.
std::array<std::uint64_t, SharedNode::location_words> SharedNode::place(const Array& array) const {
    if (array.data == nullptr) return {no_array, 0, 0};
    const auto found = SharedHeap::instance().find(array.data, array.bytes);
    if (!found) return {private_array, 0, 0};
    return {static_cast<std::uint64_t>(found->segment.descriptor) + first_descriptor,
            found->segment.bytes, found->offset};
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

bool SharedNode::is_registered(int rank) const {
    const auto& words = card(rank, calls_).words;
    return words[post_words].load(std::memory_order_relaxed) != private_array &&
           words[post_words + location_words].load(std::memory_order_relaxed) != private_array;
}

SharedNode::Arrays SharedNode::arrays(int peer) {
    return {locate(peer, post_words), locate(peer, post_words + location_words)};
}

std::byte* SharedNode::locate(int peer, std::size_t first_word) {
    const auto& words = card(peer, calls_).words;
    const auto word = [&](std::size_t i) {
        return words[first_word + i].load(std::memory_order_relaxed);
    };
    if (word(0) == no_array) return nullptr;
    const auto descriptor = static_cast<int>(word(0) - first_descriptor);
    // Ranks may be threads of one process.
    if (process(peer) == process(rank_)) {
        return SharedHeap::instance().data(descriptor) + word(2);
    }
    std::vector<Attached>& known = attached_[at(peer)];
    auto found = std::ranges::find(known, descriptor, &Attached::descriptor);
    if (found == known.end()) {
        const SegmentName name{processes_[at(peer)], descriptor, word(1)};
        known.push_back({descriptor, Segment::attach(name)});
        found = std::prev(known.end());
    }
    return found->segment.data() + word(2);
}

std::byte* SharedNode::stage(int peer, bool meets_first) const {
    std::byte* const start = stages_ + at(peer) * rank_bytes;
    return start + (meets_first ? 2 * slot_bytes : calls_ % 2 * slot_bytes);
}

std::shared_ptr<std::byte> data_of(std::shared_ptr<Segment> segment) {
    std::byte* const data = segment->data();
    return {std::move(segment), data};
}

}  // namespace pycoll
