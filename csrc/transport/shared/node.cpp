#include "transport/shared/node.hpp"

#include <algorithm>
#include <utility>

namespace pycoll {
namespace {

/// Of those that are used by turns, and by ranks that are ahead.
constexpr std::size_t short_parts = 2 + NodeSignals::contexts;

std::size_t whole_pages(std::size_t bytes) { return (bytes + page - 1) / page * page; }

/// One number for all words but the last, and for what came before them.
std::uint64_t mixed(std::uint64_t mark, const SharedNode::Post& words) {
    for (const std::uint64_t word : std::span(words).first<SharedNode::post_words - 1>()) {
        // The first round of the finaliser of splitmix64 (Steele, Lea and Flood 2014).
        mark = (mark ^ word) * 0xbf58476d1ce4e5b9U;
        mark ^= mark >> 27;
    }
    return mark;
}

}  // namespace

std::size_t SharedNode::bytes(int ranks) {
    return whole_pages(NodeSignals::bytes(ranks) + LastCores::bytes(ranks) +
                       at(ranks) * NodeSignals::contexts * sizeof(Card)) +
           whole_pages(at(ranks) * short_parts * short_bytes) + at(ranks) * rank_bytes;
}

SharedNode::SharedNode(std::shared_ptr<std::byte> memory, int rank, std::vector<pid_t> processes)
    : memory_(std::move(memory)),
      rank_(rank),
      processes_(std::move(processes)),
      signals_(memory_.get(), rank, size()),
      cores_(memory_.get() + NodeSignals::bytes(size()), rank, size()),
      cards_(reinterpret_cast<Card*>(memory_.get() + NodeSignals::bytes(size()) +
                                     LastCores::bytes(size()))),
      stages_(memory_.get() + bytes(size()) - processes_.size() * rank_bytes),
      short_stages_(stages_ - whole_pages(processes_.size() * short_parts * short_bytes)),
      taken_(processes_.size()),
      last_(processes_.size()),
      owed_(processes_.size()),
      seen_(processes_.size()),
      attached_(processes_.size()) {
    for (int peer = 0; peer < size(); ++peer) {
        if (peer != rank_) peers_.push_back(peer);
    }
}

void SharedNode::enter(const Post& what) {
    ++calls_;
    // Only ranks that share cores ask for it, and few of them move.
    constexpr std::uint64_t calls_between_looks = 16;
    if (!sleeps_are_rare_ && calls_ % calls_between_looks == 1) cores_.look();
    mark_ = mixed(mark_, what);
    signals_.enter(calls_, own_mark());
    auto word = card(rank_, calls_).words.begin();
    for (const std::uint64_t value : what) (word++)->store(value, std::memory_order_relaxed);
}

void SharedNode::show(const Place& input, const Place& output) {
    auto word = card(rank_, calls_).words.begin() + post_words;
    const auto put = [&](std::uint64_t value) {
        (word++)->store(value, std::memory_order_relaxed);
    };
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
    return found ? at(*found) : hidden(data);
}

SharedNode::Post SharedNode::posted(int rank, std::uint64_t call) const {
    Post post{};
    const Card& its = card(rank, call);
    for (std::size_t i = 0; i < post_words; ++i) {
        post[i] = its.words[i].load(std::memory_order_relaxed);
    }
    return post;
}

std::uint64_t SharedNode::owed_by_now(int peer) {
    seen_[at(peer)] = signals_.signals_to_one(peer);
    const std::uint64_t come = signals_.signals_to_all(peer) + seen_[at(peer)];
    return taken_[at(peer)] - std::min(come, taken_[at(peer)]);
}

std::optional<int> SharedNode::look_for_owed() {
    for (const int peer : peers_) {
        if (owed(peer) == 0) continue;
        for (std::uint64_t now = owed_by_now(peer); now != owed(peer);) {
            settle(peer, now);
            if (is_same_call(peer, last_[at(peer)] - now)) break;
            // Unless it has gone on meanwhile, and this is the mark of a later call.
            now = owed_by_now(peer);
            if (now == owed(peer)) return peer;
        }
    }
    return std::nullopt;
}

std::uint64_t SharedNode::owed_beyond(std::uint64_t most) {
    std::uint64_t sum = 0;
    for (const int peer : peers_) {
        if (owed(peer) <= most) continue;
        const std::uint64_t now = owed_by_now(peer);
        sum += now - std::min(now, most);
    }
    return sum;
}

SharedNode::Difference SharedNode::difference(int peer) const {
    const std::uint64_t last = last_[at(peer)] - owed(peer);
    // Those before are known to be the same.
    const std::uint64_t first = last - std::min(last - 1, most_ahead);
    for (std::uint64_t call = first; call < last; ++call) {
        Difference found{posted(rank_, call), posted(peer, call)};
        // The first word counts calls.
        const bool is_of_call = found.own[0] == found.theirs[0];
        if (is_of_call && !std::equal(found.own.begin(), found.own.end() - 1, found.theirs.begin()))
            return found;
    }
    return {posted(rank_, last), posted(peer, last)};
}

std::optional<SharedNode::Post> SharedNode::last_seen(int peer) const {
    std::optional<Post> last;
    for (std::uint64_t context = 0; context < NodeSignals::contexts; ++context) {
        const Post post = posted(peer, context);
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
