#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

#include "call.hpp"
#include "exported.hpp"
#include "fake_cuda.hpp"

using namespace fake_cuda;

namespace {

struct Locked {
    Machine& machine = Machine::instance();
    std::lock_guard<std::mutex> lock{machine.mutex};
};

struct Sum {
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;
};

Sum sum_of(const Machine& machine, Kind kind) {
    Sum sum;
    for (const auto& [begin, memory] : machine.allocations) {
        if (memory.kind != kind) continue;
        ++sum.count;
        sum.bytes += memory.bytes;
    }
    return sum;
}

}  // namespace

EXPORTED void* fake_cuda_alias(const void* pointer) {
    const Locked locked;
    const auto address = reinterpret_cast<Address>(pointer);
    const Allocation* const memory = find_allocation(locked.machine.allocations, address);
    if (memory == nullptr || memory->kind == Kind::pinned) return nullptr;
    return memory->alias + (address - memory->begin);
}

EXPORTED std::uint64_t fake_cuda_races() { return Locked().machine.races; }

EXPORTED std::uint64_t fake_cuda_misuses() { return Locked().machine.misuses; }

EXPORTED std::uint64_t fake_cuda_alive(const char* what) {
    const Locked locked;
    const Machine& machine = locked.machine;
    const std::string_view word(what);
    if (word == "allocations") return sum_of(machine, Kind::device).count;
    if (word == "bytes") return sum_of(machine, Kind::device).bytes;
    if (word == "pinned") return sum_of(machine, Kind::pinned).count;
    if (word == "pinned_bytes") return sum_of(machine, Kind::pinned).bytes;
    if (word == "mappings") return sum_of(machine, Kind::mapped).count;
    if (word == "streams") return machine.streams.size();
    if (word == "events") return machine.events.size();
    if (word == "modules") return machine.modules.size();
    return std::numeric_limits<std::uint64_t>::max();
}

EXPORTED std::uint64_t fake_cuda_calls(const char* function) {
    return Locked().machine.faults.calls(function);
}

EXPORTED void fake_cuda_fail(const char* function, std::uint64_t nth, int code) {
    Locked().machine.faults.fail(function, nth, code);
}

EXPORTED void fake_cuda_clear_failures() { Locked().machine.faults.clear_failures(); }

EXPORTED void fake_cuda_repair() {
    const Locked locked;
    for (const auto& context : locked.machine.contexts) context->sticky = success;
}

EXPORTED int fake_cuda_plant(const char* names) {
    const Locked locked;
    locked.machine.reported_races = 0;
    return locked.machine.faults.plant(names) ? 1 : 0;
}

EXPORTED void fake_cuda_allocations_wait(int on) { Locked().machine.allocations_wait = on != 0; }

EXPORTED int fake_cuda_capture(void* stream, int on) {
    const Locked locked;
    const auto found = locked.machine.streams.find(static_cast<pycoll::cuda::Stream>(stream));
    if (found == nullptr) return 0;
    found->capturing = on != 0;
    return 1;
}

EXPORTED std::uint64_t fake_cuda_access_begins(const void* pointer, std::size_t bytes, int writes,
                                               const char* what) {
    const Locked locked;
    Machine& machine = locked.machine;
    const auto address = reinterpret_cast<Address>(pointer);
    if (bytes == 0 || find_allocation(machine.allocations, address) == nullptr) return 0;
    const Timeline timeline =
        machine.spare_timelines.empty() ? machine.new_timeline() : machine.spare_timelines.back();
    if (!machine.spare_timelines.empty()) machine.spare_timelines.pop_back();
    Clock clock = *machine.host;
    clock.advance(timeline);
    machine.touch({{address, bytes, writes != 0}}, timeline, clock,
                  std::make_shared<const std::string>(what));
    machine.outside[timeline] = std::move(clock);
    return timeline;
}

EXPORTED void fake_cuda_access_ends(std::uint64_t access) {
    const Locked locked;
    const auto found = locked.machine.outside.find(access);
    if (found == locked.machine.outside.end()) return;
    locked.machine.host_learns(found->second);
    locked.machine.outside.erase(found);
    locked.machine.spare_timelines.push_back(access);
}
