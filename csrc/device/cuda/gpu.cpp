#include "device/cuda/gpu.hpp"

#include <chrono>
#include <map>
#include <new>
#include <string>

namespace pycoll::cuda {
namespace {

/// Streams that take longer than that may never end.
constexpr std::chrono::seconds longest_at_exit{2};

}  // namespace

Gpu& Gpu::at(int ordinal) {
    static std::mutex mutex;
    // Never destroyed: the driver may be gone by the time that static objects are.
    static auto& gpus = *new std::map<int, std::unique_ptr<Gpu>>();
    const std::lock_guard lock(mutex);
    auto found = gpus.find(ordinal);
    if (found == gpus.end()) {
        found = gpus.emplace(ordinal, std::unique_ptr<Gpu>(new Gpu(ordinal))).first;
    }
    // The driver, which is loaded by now, is to end after what is still being freed.
    static const struct AtExit {
        ~AtExit() {
            const auto end = std::chrono::steady_clock::now() + longest_at_exit;
            for (const auto& [ordinal, gpu] : gpus) gpu->disposal_.stop();
            for (const auto& [ordinal, gpu] : gpus) gpu->disposal_.wait_until(end);
        }
    } at_exit;
    return *found->second;
}

Gpu::Gpu(int ordinal) : driver_(Driver::instance()), ordinal_(ordinal) {
    int device = 0;
    driver_.require(driver_.device(&device, ordinal), "cuDeviceGet");
    driver_.require(driver_.retain_context(&context_, device), "cuDevicePrimaryCtxRetain");
    const Current current(*this);
    int lowest_priority = 0;
    driver_.require(driver_.priority_range(&lowest_priority, &highest_priority_),
                    "cuCtxGetStreamPriorityRange");
    flags_ = new_flags();
}

Gpu::Current::Current(const Gpu& gpu) : driver_(gpu.driver_) {
    driver_.require(driver_.push_context(gpu.context_), "cuCtxPushCurrent");
    driver_.exchange_capture_mode(&capture_mode_);
}

Gpu::Current::~Current() {
    driver_.exchange_capture_mode(&capture_mode_);
    Context popped = nullptr;
    driver_.pop_context(&popped);
}

const Kernels& Gpu::kernels() {
    const Current current(*this);
    const std::lock_guard lock(mutex_);
    if (kernels_ == nullptr) kernels_ = std::make_unique<const Kernels>(driver_, ordinal_);
    return *kernels_;
}

Stream Gpu::create_stream() const {
    Stream stream = nullptr;
    driver_.require(driver_.create_stream(&stream, stream_non_blocking, highest_priority_),
                    "cuStreamCreateWithPriority");
    return stream;
}

bool Gpu::may_wait(Stream stream) const {
    int priority = highest_priority_;
    driver_.require(driver_.stream_priority(stream, &priority), "cuStreamGetPriority");
    return priority != highest_priority_;
}

Stream Gpu::arrivals() {
    const Current current(*this);
    const std::lock_guard lock(mutex_);
    for (Arrivals& known : arrivals_) {
        if (!known.is_marked) {
            driver_.require(driver_.record_event(known.end, known.stream), "cuEventRecord");
            known.is_marked = true;
        }
        if (driver_.query_event(known.end) != success) continue;
        known.is_marked = false;
        return known.stream;
    }
    Arrivals made{create_stream(), nullptr, false};
    driver_.require(driver_.create_event(&made.end, event_without_timing), "cuEventCreate");
    arrivals_.push_back(made);
    return made.stream;
}

/// More than operations are under way: getting new ones may wait for streams that wait for one of
/// these.
std::vector<Flag> Gpu::new_flags() {
    constexpr std::size_t flags_at_once = 4096;
    using Word = std::atomic<std::uint32_t>;
    std::byte* const memory = pinned_.allocate(flags_at_once * sizeof(Word));
    Address address = 0;
    driver_.require(driver_.host_address(&address, memory, 0), "cuMemHostGetDevicePointer");
    std::vector<Flag> flags;
    for (std::size_t offset = 0; offset < flags_at_once * sizeof(Word); offset += sizeof(Word)) {
        flags.push_back({new (memory + offset) Word(0), address + offset});
    }
    return flags;
}

Flag Gpu::take_flag() {
    std::unique_lock lock(mutex_);
    if (flags_.empty()) {
        lock.unlock();
        const Current current(*this);
        const std::vector<Flag> made = new_flags();
        lock.lock();
        flags_.insert(flags_.end(), made.begin(), made.end());
    }
    const Flag flag = flags_.back();
    flags_.pop_back();
    return flag;
}

void Gpu::give_back(Flag flag) {
    const std::lock_guard lock(mutex_);
    flags_.push_back(flag);
}

Result Gpu::Memory::try_to_allocate(std::size_t bytes, std::byte*& memory) const {
    if (kind_ == Disposal::Memory::Kind::pinned) {
        void* pinned = nullptr;
        const Result result =
            gpu_.driver_.allocate_host(&pinned, bytes, host_memory_portable | host_memory_mapped);
        memory = static_cast<std::byte*>(pinned);
        return result;
    }
    Address address = 0;
    const Result result = gpu_.driver_.allocate(&address, bytes);
    memory = pointer_to(address);
    return result;
}

std::byte* Gpu::Memory::allocate(std::size_t bytes) {
    // Streams that take longer than that may wait for whoever asks for memory.
    constexpr std::chrono::seconds longest_disposal{10};
    const Current current(gpu_);
    Disposal& disposal = gpu_.disposal_;
    const std::uint64_t freed_before = disposal.freed();
    std::byte* memory = nullptr;
    Result result = try_to_allocate(bytes, memory);
    if (result == out_of_memory) {
        disposal.wait_until(std::chrono::steady_clock::now() + longest_disposal);
        if (disposal.freed() != freed_before) result = try_to_allocate(bytes, memory);
    }
    gpu_.driver_.require(result,
                         kind_ == Disposal::Memory::Kind::pinned ? "cuMemHostAlloc" : "cuMemAlloc");
    return memory;
}

void Gpu::Memory::free(std::byte* memory) noexcept { gpu_.disposal_.add({kind_, memory}); }

std::optional<int> gpu_of(const void* pointer) {
    const Driver* driver = nullptr;
    try {
        driver = &Driver::instance();
    } catch (const CudaError&) {
        return std::nullopt;
    }
    unsigned type = 0;
    int managed = 0;
    int ordinal = 0;
    const auto ask = [&](int attribute, void* answer) {
        return driver->pointer_attribute(answer, attribute, address_of(pointer)) == success;
    };
    // Memory that CUDA does not know is the host's.
    if (!ask(pointer_memory_type, &type) || !ask(pointer_device, &ordinal)) return std::nullopt;
    const bool is_managed = ask(pointer_is_managed, &managed) && managed != 0;
    if (type != memory_of_device && !is_managed) return std::nullopt;
    return ordinal;
}

std::optional<int> current_gpu() {
    const Driver& driver = Driver::instance();
    int device = 0;
    const Result found = driver.current_device(&device);
    if (found == invalid_context) return std::nullopt;
    driver.require(found, "cuCtxGetDevice");
    return device;  // CUDA's handles of devices are their ordinals
}

bool is_captured(const Gpu& gpu, Stream stream) {
    const Gpu::Current current(gpu);
    int status = capture_none;
    gpu.driver().require(gpu.driver().stream_is_capturing(stream, &status), "cuStreamIsCapturing");
    return status != capture_none;
}

}  // namespace pycoll::cuda
