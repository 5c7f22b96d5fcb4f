#include "machine.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace fake_cuda {

Machine& Machine::instance() {
    static Machine& machine = *new Machine();
    return machine;
}

Machine::Machine() {
    for (int device = 0; device < settings().devices; ++device) {
        contexts.push_back(std::make_unique<ContextState>(ContextState{.device = device}));
    }
    memories_.resize(contexts.size());
}

DeviceMemory& Machine::memory(int device) {
    auto& memory = memories_[static_cast<std::size_t>(device)];
    if (memory == nullptr) memory = std::make_unique<DeviceMemory>();
    return *memory;
}

bool Machine::is_device_memory(Address address) const {
    return std::ranges::any_of(memories_, [&](const auto& memory) {
        return memory != nullptr && memory->contains(address);
    });
}

std::shared_ptr<Stream> Machine::new_stream(ContextState& context, bool blocking, int priority) {
    auto stream = std::make_shared<Stream>(*this, context, blocking, priority);
    stream->start();
    workers.push_back(stream);
    return stream;
}

void Machine::host_learns(const Clock& clock) {
    if (host->knows(clock)) return;
    auto now = std::make_shared<Clock>(*host);
    now->join(clock);
    host = std::move(now);
}

void Machine::wait_for(std::unique_lock<std::mutex>& lock, const Ending& ending) {
    if (ending == nullptr) return;
    // A copy of its own: the lock is released meanwhile.
    const Ending awaited = ending;
    awaited->changed.wait(lock, [&] { return awaited->done; });
    host_learns(awaited->clock);
}

void Machine::wait_for_all(std::unique_lock<std::mutex>& lock, const ContextState* context) {
    std::vector<Ending> endings;
    for (const auto& worker : workers) {
        if (context == nullptr || &worker->context == context) endings.push_back(worker->last());
    }
    for (const Ending& ending : endings) wait_for(lock, ending);
}

void Machine::touch(const std::vector<Access>& accesses, Timeline timeline, const Clock& clock,
                    const What& what) {
    for (const Access& access : accesses) {
        Allocation* const allocation = find_allocation(allocations, access.begin);
        // Memory that CUDA does not know is the program's own affair.
        if (allocation == nullptr || access.bytes == 0) continue;
        const What other = allocation->accesses.add(access, timeline, clock, what);
        forget(allocation->accesses);
        if (other != nullptr) report_race(access, what, *other);
    }
}

void Machine::enter_shared(const std::vector<Access>& accesses, const What& what) {
    for (const Access& access : accesses) {
        const Allocation* const allocation = find_allocation(allocations, access.begin);
        if (allocation == nullptr || allocation->kind == Kind::pinned) continue;
        const pid_t other =
            header_of(allocation->alias)
                .uses.enter(access.begin - allocation->begin, access.bytes, access.writes);
        if (other != 0) report_race(access, what, "process " + std::to_string(other));
    }
}

void Machine::leave_shared(const std::vector<Access>& accesses) {
    for (const Access& access : accesses) {
        const Allocation* const allocation = find_allocation(allocations, access.begin);
        if (allocation == nullptr || allocation->kind == Kind::pinned) continue;
        header_of(allocation->alias)
            .uses.leave(access.begin - allocation->begin, access.bytes, access.writes);
    }
}

void Machine::report_race(const Access& access, const What& what, const std::string& other) {
    ++races;
    // More of them would only hide the first ones; those of a planted bug are expected.
    const std::uint64_t most_reported = faults.is_planted() ? 1 : 10;
    if (++reported_races <= most_reported) {
        std::fprintf(stderr, "FAKE CUDA RACE: %s (%s %zu bytes at %#llx) and %s\n", what->c_str(),
                     access.writes ? "writes" : "reads", access.bytes, access.begin, other.c_str());
    }
    if (settings().abort_at_race) std::abort();
}

void Machine::forget(Accesses& accesses) {
    // Looking through so many takes about as long as all else that an operation does.
    constexpr std::size_t enough = 64;
    if (accesses.size() % enough != 0) return;
    std::vector<const Clock*> known_to_all{host.get()};
    for (const auto& worker : workers) {
        if (!worker->is_idle()) known_to_all.push_back(worker->queue().front().host.get());
    }
    accesses.forget(known_to_all);
}

void Machine::misuse(const std::string& what) {
    ++misuses;
    std::fprintf(stderr, "FAKE CUDA MISUSE: %s\n", what.c_str());
}

std::pair<What, Ending> Machine::find_user(const Allocation& allocation) const {
    const auto concerns = [&](const Access& access) {
        return allocation.begin <= access.begin &&
               access.begin < allocation.begin + allocation.bytes;
    };
    for (const auto& worker : workers) {
        for (const Operation& operation : worker->queue()) {
            if (std::ranges::any_of(operation.accesses, concerns)) {
                return {operation.what, operation.ending};
            }
        }
    }
    return {};
}

}  // namespace fake_cuda
