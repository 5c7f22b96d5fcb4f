#include "schedule/builder.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace pycoll {
namespace {

constexpr std::int64_t nobody = -1;

std::size_t index(Buffer buffer) { return static_cast<std::size_t>(buffer); }

/// Throws unless the request makes sense and can run in place, if it asks for that.
Placement place_checked(const Request& request) {
    check(request);
    const bool one_place =
        request.collective != Collective::all_to_all && request.collective != Collective::barrier;
    if (request.in_place && !one_place) {
        throw std::invalid_argument(std::string(name(request.collective)) + " cannot run in place");
    }
    return Placement(request);
}

}  // namespace

ScheduleBuilder::ScheduleBuilder(const Request& request)
    : chunk_(request.chunk), place_(place_checked(request)) {
    schedule_.collective = request.collective;
    schedule_.rank = request.rank;
    schedule_.size = request.size;
    schedule_.input_count = place_.size(Buffer::input);
    schedule_.output_count = place_.size(Buffer::output);
}

Slice ScheduleBuilder::scratch(std::uint64_t count) {
    const Slice slice{Buffer::scratch, schedule_.scratch_count, count};
    schedule_.scratch_count += count;
    return slice;
}

void ScheduleBuilder::use_stage(std::uint64_t count) {
    schedule_.stage_count = std::max(schedule_.stage_count, count);
}

void ScheduleBuilder::use_stage_alike(std::uint64_t count) {
    use_stage(count);
    schedule_.stages_alike = true;
}

void ScheduleBuilder::meet_first() { schedule_.meets_first = true; }

void ScheduleBuilder::run_ahead() { schedule_.runs_ahead = true; }

ScheduleBuilder::Steps ScheduleBuilder::send(int peer, Slice src, std::span<const Steps> after) {
    return append({.kind = StepKind::send, .peer = peer, .dst = {}, .srcs = {src}, .after = {}},
                  after);
}

ScheduleBuilder::Steps ScheduleBuilder::recv(int peer, Slice dst, std::span<const Steps> after) {
    return append({.kind = StepKind::recv, .peer = peer, .dst = dst, .srcs = {}, .after = {}},
                  after);
}

void ScheduleBuilder::recv_reduce(int peer, Slice dst, Slice local, Fold fold, Order order) {
    append({.kind = StepKind::recv_reduce,
            .finish = fold == Fold::last,
            .message_first = order == Order::message_first,
            .peer = peer,
            .dst = dst,
            .srcs = {local},
            .after = {}});
}

void ScheduleBuilder::copy(Slice dst, Slice src) {
    if (resolve(dst) == resolve(src)) return;
    append({.kind = StepKind::copy, .dst = dst, .srcs = {src}, .after = {}});
}

void ScheduleBuilder::reduce(Slice dst, std::span<const Slice> srcs, Fold fold) {
    append({.kind = StepKind::reduce,
            .finish = fold == Fold::last,
            .dst = dst,
            .srcs = {srcs.begin(), srcs.end()},
            .after = {}});
}

void ScheduleBuilder::signal(int peer, std::span<const Steps> after) {
    append_piece({.kind = StepKind::signal, .peer = peer, .dst = {}, .srcs = {}, .after = {}},
                 after);
}

ScheduleBuilder::Steps ScheduleBuilder::wait(int peer) {
    const auto id = static_cast<std::uint32_t>(schedule_.steps.size());
    append_piece({.kind = StepKind::wait, .peer = peer, .dst = {}, .srcs = {}, .after = {}}, {});
    return {id, id + 1};
}

void ScheduleBuilder::expect(int peer) {
    append_piece({.kind = StepKind::expect, .peer = peer, .dst = {}, .srcs = {}, .after = {}}, {});
}

void ScheduleBuilder::meet() {
    // Everybody starts with the next rank, so that not all write to the same one at once.
    for (int k = 1; k < schedule_.size; ++k) signal((schedule_.rank + k) % schedule_.size);
    for (int k = 1; k < schedule_.size; ++k) wait((schedule_.rank + k) % schedule_.size);
}

Schedule ScheduleBuilder::build() && { return std::move(schedule_); }

Slice ScheduleBuilder::resolve(Slice slice) const {
    if (slice.owner != Slice::own && slice.owner != schedule_.rank) return slice;
    slice.owner = Slice::own;
    return place_.real(slice);
}

ScheduleBuilder::Steps ScheduleBuilder::append(const Step& step, std::span<const Steps> after) {
    const std::uint64_t count = step.kind == StepKind::send ? step.srcs[0].count : step.dst.count;
    for (const Slice& src : step.srcs) {
        if (src.count != count) throw std::logic_error("slices of one step differ in length");
    }
    Steps appended{static_cast<std::uint32_t>(schedule_.steps.size()), 0};
    const std::uint64_t longest = chunk_ == 0 ? count : chunk_;
    for (std::uint64_t skip = 0; skip < count; skip += longest) {
        const std::uint64_t length = std::min(longest, count - skip);
        Step piece = step;
        for (Slice& src : piece.srcs) src = resolve(src.part(skip, length));
        if (writes(piece.kind)) piece.dst = resolve(piece.dst.part(skip, length));
        append_piece(std::move(piece), after);
    }
    appended.end = static_cast<std::uint32_t>(schedule_.steps.size());
    return appended;
}

/// Adds the dependencies that follow from the memory the step touches.
void ScheduleBuilder::append_piece(Step piece, std::span<const Steps> after) {
    const auto id = static_cast<std::uint32_t>(schedule_.steps.size());
    for (const Steps& before : after) {
        for (std::uint32_t step = before.begin; step < before.end; ++step) {
            piece.after.push_back(step);
        }
    }
    for (const Slice& src : piece.srcs) {
        if (src.owner == Slice::own) read(src, id, piece.after);
    }
    if (writes(piece.kind) && piece.dst.owner == Slice::own) write(piece.dst, id, piece.after);
    if (is_one_sided(piece)) {
        if (last_one_sided_ != nobody) {
            piece.after.push_back(static_cast<std::uint32_t>(last_one_sided_));
        }
        last_one_sided_ = id;
    }
    std::ranges::sort(piece.after);
    const auto repeated = std::ranges::unique(piece.after);
    piece.after.erase(repeated.begin(), repeated.end());
    std::erase(piece.after, id);
    schedule_.steps.push_back(std::move(piece));
}

/// Makes `at` the start of an access, splitting the one that spans it.
ScheduleBuilder::Accesses::iterator ScheduleBuilder::cut(Accesses& accesses, std::uint64_t at) {
    auto next = accesses.lower_bound(at);
    if (next != accesses.end() && next->first == at) return next;
    if (next == accesses.begin()) return next;
    const auto previous = std::prev(next);
    if (previous->second.end <= at) return next;
    Access right = previous->second;
    previous->second.end = at;
    return accesses.emplace_hint(next, at, std::move(right));
}

void ScheduleBuilder::read(const Slice& slice, std::uint32_t step,
                           std::vector<std::uint32_t>& after) {
    Accesses& accesses = accesses_[index(slice.buffer)];
    cut(accesses, slice.end());
    auto access = cut(accesses, slice.offset);
    std::uint64_t at = slice.offset;
    while (at < slice.end()) {
        // Memory nobody has touched yet (the caller's input) still needs its readers on record:
        // a later write must wait for them.
        if (access == accesses.end() || access->first > at) {
            const std::uint64_t end =
                access == accesses.end() ? slice.end() : std::min(slice.end(), access->first);
            access = accesses.emplace_hint(access, at, Access{end, nobody, {}});
        }
        if (access->second.writer != nobody) {
            after.push_back(static_cast<std::uint32_t>(access->second.writer));
        }
        access->second.readers.push_back(step);
        at = access->second.end;
        ++access;
    }
}

void ScheduleBuilder::write(const Slice& slice, std::uint32_t step,
                            std::vector<std::uint32_t>& after) {
    Accesses& accesses = accesses_[index(slice.buffer)];
    cut(accesses, slice.end());
    auto access = cut(accesses, slice.offset);
    while (access != accesses.end() && access->first < slice.end()) {
        // The readers themselves wait for the last writer.
        if (access->second.readers.empty() && access->second.writer != nobody) {
            after.push_back(static_cast<std::uint32_t>(access->second.writer));
        }
        after.insert(after.end(), access->second.readers.begin(), access->second.readers.end());
        access = accesses.erase(access);
    }
    accesses.emplace_hint(access, slice.offset, Access{slice.end(), step, {}});
}

}  // namespace pycoll
