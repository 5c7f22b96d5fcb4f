#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "clock.hpp"
#include "device_memory.hpp"
#include "faults.hpp"
#include "handles.hpp"
#include "memory.hpp"
#include "results.hpp"
#include "settings.hpp"
#include "stream.hpp"

namespace fake_cuda {

/// A GPU's primary context.
struct ContextState {
    int device;
    int retained = 0;
    /// The error after which it is of no use.
    Result sticky = success;
    std::vector<std::shared_ptr<Stream>> streams = {};
    /// Of streams that were destroyed with something still on them.
    std::vector<Ending> departed = {};
    /// The legacy default stream, and where kernels go by a planted bug; from their first use on.
    std::shared_ptr<Stream> legacy = {};
    std::shared_ptr<Stream> stray = {};
};

struct EventState {
    ContextState* context;
    /// Of what it was recorded behind; null before.
    Ending recorded = {};
};

struct ModuleState {
    ContextState* context;
};

struct FunctionState {
    std::shared_ptr<ModuleState> module;
    std::string name;
};

/// Everything that the driver of a process knows. Never destroyed: streams outlive main().
struct Machine {
    static Machine& instance();

    Machine();

    /// Guards all members, but for `data`.
    std::mutex mutex;
    /// Guards the bytes of all memory: one operation moves data at a time. That two do so at once
    /// is no way to find races, which `Accesses` does, but would be one for ThreadSanitizer.
    std::mutex data;

    bool initialized = false;
    Faults faults;
    std::vector<std::unique_ptr<ContextState>> contexts;

    Allocations allocations;
    /// Those of mapped memory, by where it begins.
    std::map<Address, MappedPiece> mappings;

    Handles<Stream, pycoll::cuda::Stream> streams{0x5000000};
    Handles<EventState, pycoll::cuda::Event> events{0xe000000};
    Handles<ModuleState, pycoll::cuda::Module> modules{0xa000000};
    Handles<FunctionState, pycoll::cuda::Function> functions{0xf000000};

    /// What the host knows.
    std::shared_ptr<const Clock> host = std::make_shared<const Clock>();
    /// All streams that work, also those that were destroyed but are not done.
    std::vector<std::shared_ptr<Stream>> workers;
    /// What accesses memory from outside (fake_cuda_access_begins), each with a timeline of its
    /// own.
    std::map<Timeline, Clock> outside;
    std::vector<Timeline> spare_timelines;
    bool allocations_wait = false;
    std::uint64_t races = 0;
    /// Since bugs were planted or removed.
    std::uint64_t reported_races = 0;
    std::uint64_t misuses = 0;

    [[nodiscard]] DeviceMemory& memory(int device);
    [[nodiscard]] bool is_device_memory(Address address) const;
    [[nodiscard]] Timeline new_timeline() { return ++timelines_; }
    [[nodiscard]] std::shared_ptr<Stream> new_stream(ContextState& context, bool blocking,
                                                     int priority);

    /// The host gets to know something.
    void host_learns(const Clock& clock);
    /// Waits for the end of something; the host knows it then.
    void wait_for(std::unique_lock<std::mutex>& lock, const Ending& ending);
    /// Waits for all that is on streams, of one context or of all of them (null).
    void wait_for_all(std::unique_lock<std::mutex>& lock, const ContextState* context);

    /// Something reads or writes memory, on a timeline that has come to `clock`. Reports races.
    void touch(const std::vector<Access>& accesses, Timeline timeline, const Clock& clock,
               const What& what);
    /// An operation might begin from now on, or has ended. Between both, it races with those of
    /// other processes on the same memory.
    void enter_shared(const std::vector<Access>& accesses, const What& what);
    void leave_shared(const std::vector<Access>& accesses);
    /// A program did what CUDA does not define.
    void misuse(const std::string& what);
    /// Something on a stream that accesses an allocation, and its end; nulls for nothing.
    [[nodiscard]] std::pair<What, Ending> find_user(const Allocation& allocation) const;

private:
    void report_race(const Access& access, const What& what, const std::string& other);
    void forget(Accesses& accesses);

    std::vector<std::unique_ptr<DeviceMemory>> memories_;
    Timeline timelines_ = host_timeline;
};

}  // namespace fake_cuda
