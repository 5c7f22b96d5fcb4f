// How the ranks of a communicator enter a call: what they show each other before its own plan runs.

#include <algorithm>

#include "engine/communicator.hpp"

namespace pycoll {
namespace {

/// With every rank missing, a text for each of thousands would bury the rest.
constexpr int most_named = 8;

}  // namespace

/// Moves the calls along that enter one after the other: the first is under way.
bool Communicator::advance_entries() {
    bool moved = false;
    while (!entries_.empty()) {
        Entry& entry = entries_.front();
        if (entry.stage == Entry::Stage::queued) {
            if (!entry.execution->is_ready()) break;
            go_on(entry);
            moved = true;
        }
        if (entry.stage == Entry::Stage::holding && may_enter(entry)) {
            enter_node(entry);
            moved = true;
        }
        while (entry.execution->poll_signals()) moved = true;
        if (entry.stage != Entry::Stage::holding && entry.execution->entered()) {
            go_on(entry);
            moved = true;
            continue;
        }
        // Messages are matched by tags: the next call may enter meanwhile.
        const bool enters = entry.stage != Entry::Stage::running || entry.execution->is_one_sided();
        if (!entry.execution->done() && enters) {
            look_for_owed();
            break;
        }
        entries_.pop_front();
        moved = true;
    }
    return moved;
}

void Communicator::go_on(Entry& entry) {
    const Execution& execution = *entry.execution;
    switch (entry.stage) {
        case Entry::Stage::queued:
            entry.stage = shows_calls_ ? Entry::Stage::checking : Entry::Stage::holding;
            if (!shows_calls_) return;
            return show(entry, entry.post);
        case Entry::Stage::checking:
            posts_.resize(static_cast<std::size_t>(size_));
            for (std::size_t rank = 0; rank < posts_.size(); ++rank) {
                std::ranges::copy(execution.shown().subspan(rank * SharedNode::post_words,
                                                            SharedNode::post_words),
                                  posts_[rank].begin());
            }
            if (const auto difference = find_difference(rank_, posts_)) {
                throw CollectiveError(*difference);
            }
            last_shown_ = entry.post;
            // Those of a call that is only introduced are looked at when it is made.
            if (!entry.introduces_gpus() && !counts_fit(posts_)) return show_counts(entry);
            entry.stage = Entry::Stage::holding;
            return;
        case Entry::Stage::comparing:
            throw CollectiveError(find_misfit(entry.post, execution.shown(), size_));
        case Entry::Stage::meeting:
            if (entry.has_own_counts() && neighbours_->are_all()) {
                posts_.clear();
                for (int local = 0; local < size_; ++local) {
                    posts_.push_back(neighbours_->node().posted(local));
                }
                if (!counts_fit(posts_)) return show_counts(entry);
            }
            if (entry.introduces_gpus()) return introduce_gpu(entry);
            entry.stage = Entry::Stage::running;
            return entry.execution->begin(plan_after_meeting(entry), means_,
                                          Execution::Entry::none);
        case Entry::Stage::introducing:
            return look_at_gpus(entry);
        case Entry::Stage::confirming:
            return agree_on_gpus(entry);
        case Entry::Stage::holding:
        case Entry::Stage::running:
            break;
    }
}

/// Throws CollectiveError when a neighbour that this rank did not wait for has made another call.
void Communicator::look_for_owed() {
    if (!neighbours_ || !neighbours_->node().is_owed()) return;
    const auto other = neighbours_->node().look_for_owed();
    if (other) throw CollectiveError(find_difference(*neighbours_, *other));
}

/// Does a call use a part of the stages that the last one may not have left yet?
bool Communicator::takes_turns(const PreparedCall& call) {
    return call.meets_in_plan && call.if_private->area(call.on_gpu) == SharedNode::Area::by_turns;
}

/// How many calls the others may be behind when a rank enters this one: see SharedNode.
std::uint64_t Communicator::most_behind(const Entry& entry) {
    if (!entry.introduces_gpus() && takes_turns(*entry.call)) return 0;
    // Who has to wait lets the others make some calls: each time that it goes on costs them a turn
    // on a core that they share.
    return entry.has_waited ? SharedNode::most_ahead / 2 : SharedNode::most_ahead - 1;
}

/// Throws as above.
bool Communicator::may_enter(Entry& entry) {
    const std::uint64_t most = most_behind(entry);
    if (neighbours_ && !neighbours_->node().owes_at_most(std::min(most, most_unseen))) {
        look_for_owed();
    }
    const bool may = !neighbours_ || neighbours_->node().owes_at_most(most);
    entry.has_waited = !may;
    return may;
}

/// What a program calls for the first time it may have got wrong. Where all wait for all, they hear
/// of it in that very call; who has run ahead does a few calls later.
bool Communicator::may_run_ahead(const PreparedCall& call) {
    constexpr std::uint64_t first_runs = 2;
    // In a barrier all wait for all.
    return call.runs >= first_runs && call.collective != Collective::barrier &&
           call.if_private->area(call.on_gpu) == SharedNode::Area::ahead;
}

/// What the ranks of the node have to do with each other in a call in which they do not meet first.
Execution::Entry Communicator::entry_of(const PreparedCall& call) const {
    if (!neighbours_) return Execution::Entry::none;
    return may_run_ahead(call) ? Execution::Entry::ahead : Execution::Entry::along;
}

void Communicator::show(const Entry& entry, std::span<const std::uint64_t> words) {
    entry.execution->show(plans_.showing(rank_, size_, words.size()), means_, words);
}

/// All ranks know by now that some counts do not fit, so all come here.
void Communicator::show_counts(Entry& entry) {
    entry.stage = Entry::Stage::comparing;
    show(entry, entry.call->counts);
}

void Communicator::enter_node(Entry& entry) {
    const bool meets = neighbours_ && (entry.introduces_gpus() || !entry.call->meets_in_plan);
    const std::shared_ptr<const Plan>* plan = nullptr;
    if (meets) {
        plan = &plans_.meeting(rank_, size_, neighbours_->ranks());
    } else if (!entry.introduces_gpus()) {
        plan = &entry.call->if_private;
    }
    if (plan != nullptr) entry.execution->adopt(*plan);
    if (neighbours_) neighbours_->node().enter(entry.post);
    if (meets) {
        neighbours_->node().show(entry.input, entry.output);
        entry.stage = Entry::Stage::meeting;
        return entry.execution->begin(*plan, means_, Execution::Entry::before);
    }
    if (entry.introduces_gpus()) return introduce_gpu(entry);
    entry.stage = Entry::Stage::running;
    entry.execution->begin(*plan, means_, entry_of(*entry.call));
    if (entry.execution->runs_ahead() && entry.execution->done()) ++calls_at_once_;
}

bool Communicator::prepare_sleep() {
    if (!neighbours_) return false;
    SharedNode& node = neighbours_->node();
    // Before the look at which of them are missing: else one that comes in between is waited for
    // twice.
    const std::uint64_t arrived = node.arrived();
    const Entry& first = entries_.front();
    if (first.stage == Entry::Stage::holding) {
        const std::uint64_t missing = node.owed_beyond(most_behind(first));
        return missing > 0 && node.prepare_sleep(arrived + missing);
    }
    const std::vector<int> missing = first.execution->missing_signals();
    if (missing.empty()) return false;
    if (!first.execution->runs_ahead()) return node.prepare_sleep(arrived + missing.size());
    // Of others, more than one may come. And of this one, as many more calls as had come last time:
    // to be woken for each costs far more than the call (broadcast of 256 B on 8 ranks that share 2
    // cores: 10.2 µs a call, and 6.6 like this). If they do not, the nap is short.
    const std::uint64_t calls =
        std::clamp<std::uint64_t>(calls_at_once_, 1, SharedNode::most_ahead / 2);
    calls_at_once_ = 0;
    return node.prepare_sleep(calls, missing.back());
}

const std::shared_ptr<const Plan>& Communicator::plan_after_meeting(const Entry& entry) const {
    const SharedNode& node = neighbours_->node();
    for (int local = 0; local < node.size(); ++local) {
        if (!node.is_registered(local)) return entry.call->if_private;
    }
    return entry.call->if_registered;
}

/// For people: whom or what it waits for, and where those ranks are that have not entered the call.
std::string Communicator::waits_for(const Execution& execution) const {
    const auto its = std::ranges::find_if(
        entries_, [&](const Entry& entry) { return entry.execution.get() == &execution; });
    if (its == entries_.end() || entries_.front().stage == Entry::Stage::queued) {
        return execution.waits_for();
    }
    const Entry& first = entries_.front();
    if (its != entries_.begin()) {
        return "the calls before it, of which " + first.execution->describe() + " waits for " +
               waits_for(*first.execution);
    }
    const std::string missing = missing_ranks(first);
    return missing.empty() ? execution.waits_for() : missing;
}

std::string Communicator::missing_ranks(const Entry& entry) const {
    std::string missing;
    int named = 0;
    const auto add = [&](int rank, const std::optional<SharedNode::Post>& seen) {
        if (named++ >= most_named) return;
        missing += (missing.empty() ? "" : ", ") + std::string("rank ") + std::to_string(rank) +
                   (seen ? " (last seen in " + pycoll::describe(*seen) + ")"
                         : " (which has made no call yet)");
    };
    const bool is_introduction =
        entry.stage == Entry::Stage::introducing || entry.stage == Entry::Stage::confirming;
    if (is_introduction) {
        for (const int rank : entry.execution->silent_peers()) add(rank, entry.post);
    } else if (entry.stage == Entry::Stage::checking) {
        for (const int rank : entry.execution->silent_peers()) add(rank, last_shown_);
    } else if (neighbours_ && entry.stage != Entry::Stage::comparing) {
        const SharedNode& node = neighbours_->node();
        const bool is_held = entry.stage == Entry::Stage::holding;
        const auto awaited = entry.execution->missing_signals();
        const auto is_awaited = [&](int local) {
            if (is_held) return node.owed(local) > most_behind(entry);
            return !entry.execution->runs_ahead() || std::ranges::count(awaited, local) > 0;
        };
        for (int local = 0; local < node.size(); ++local) {
            if (local == node.rank() || !is_awaited(local)) continue;
            const auto seen = node.last_seen(local);
            if (seen && (*seen)[0] >= entry.post[0]) continue;
            add(neighbours_->ranks()[static_cast<std::size_t>(local)], seen);
        }
    }
    if (named > most_named) missing += ", and " + std::to_string(named - most_named) + " more";
    return missing;
}

}  // namespace pycoll
