#include "shared_uses.hpp"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <span>

namespace fake_cuda {
namespace {

class Locked {
public:
    explicit Locked(std::atomic_flag& flag) : flag_(flag) {
        while (flag_.test_and_set()) sched_yield();
    }
    ~Locked() { flag_.clear(); }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;

private:
    std::atomic_flag& flag_;
};

bool is_alive(pid_t process) { return kill(process, 0) == 0; }

}  // namespace

pid_t SharedUses::enter(std::uint64_t begin, std::uint64_t bytes, bool writes) {
    const Locked locked(locked_);
    const pid_t self = getpid();
    pid_t conflict = 0;
    for (const Use& use : std::span(uses_).first(count_)) {
        const bool overlaps = begin < use.begin + use.bytes && use.begin < begin + bytes;
        // What a process did that was killed is no concern of others.
        if (overlaps && use.process != self && (writes || use.writes != 0) &&
            is_alive(use.process)) {
            conflict = use.process;
        }
    }
    // Beyond so many at once, some are not seen.
    if (count_ < uses_.size()) uses_[count_++] = {self, writes ? 1U : 0U, begin, bytes};
    return conflict;
}

void SharedUses::leave(std::uint64_t begin, std::uint64_t bytes, bool writes) {
    const Locked locked(locked_);
    const Use use{getpid(), writes ? 1U : 0U, begin, bytes};
    const auto used = std::span(uses_).first(count_);
    const auto found = std::ranges::find(used, use);
    if (found == used.end()) return;
    *found = used.back();
    --count_;
}

}  // namespace fake_cuda
