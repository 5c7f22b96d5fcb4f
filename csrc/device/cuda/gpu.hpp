#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "device/cuda/disposal.hpp"
#include "device/cuda/driver.hpp"
#include "device/cuda/kernels.hpp"
#include "device/memory_source.hpp"

namespace pycoll::cuda {

/// A word that the host writes and streams can wait for.
struct Flag {
    std::atomic<std::uint32_t>* word = nullptr;
    /// Where the GPU sees it.
    Address address = 0;
};

/// One GPU as this process uses it, in the context that all libraries of the process share (the
/// primary one). Lives as long as the process. All members may be called from any thread.
class Gpu {
public:
    /// Throws CudaError when there is no such GPU.
    static Gpu& at(int ordinal);

    Gpu(const Gpu&) = delete;
    Gpu& operator=(const Gpu&) = delete;

    /// Makes the context current for this thread, for as long as it lives. Other threads may
    /// record a graph meanwhile: what is done here is none of theirs.
    class Current {
    public:
        explicit Current(const Gpu& gpu);
        ~Current();
        Current(const Current&) = delete;
        Current& operator=(const Current&) = delete;

    private:
        const Driver& driver_;
        int capture_mode_ = capture_mode_relaxed;
    };

    [[nodiscard]] int ordinal() const { return ordinal_; }
    [[nodiscard]] const Driver& driver() const { return driver_; }
    /// Loaded at the first call. Throws CudaError.
    [[nodiscard]] const Kernels& kernels();

    /// The GPU's memory, and memory of the host that the GPU copies from and to by itself. To free
    /// either does not wait for the GPU, but to get it may, also for what was freed before.
    [[nodiscard]] MemorySource& memory() { return memory_; }
    [[nodiscard]] MemorySource& pinned() { return pinned_; }
    /// Where what was freed of both waits for its end.
    [[nodiscard]] Disposal& disposal() { return disposal_; }

    /// A new stream that no other stream waits for, of the highest priority: where streams have to
    /// share a hardware queue, they share it with those of their priority. With the context
    /// current.
    [[nodiscard]] Stream create_stream() const;
    /// Can a stream wait for a flag without keeping those of create_stream() from their work?
    [[nodiscard]] bool may_wait(Stream stream) const;
    /// A stream on which others put what one call is to come after; nothing else is on it.
    [[nodiscard]] Stream arrivals();

    [[nodiscard]] Flag take_flag();
    /// Whoever still waits for it goes on.
    void give_back(Flag flag);

private:
    class Memory final : public MemorySource {
    public:
        Memory(Gpu& gpu, Disposal::Memory::Kind kind) : gpu_(gpu), kind_(kind) {}
        [[nodiscard]] std::byte* allocate(std::size_t bytes) override;
        void free(std::byte* memory) noexcept override;

    private:
        [[nodiscard]] Result try_to_allocate(std::size_t bytes, std::byte*& memory) const;

        Gpu& gpu_;
        Disposal::Memory::Kind kind_;
    };

    explicit Gpu(int ordinal);
    [[nodiscard]] std::vector<Flag> new_flags();

    const Driver& driver_;
    int ordinal_;
    Context context_ = nullptr;
    int highest_priority_ = 0;
    Disposal disposal_{*this};
    Memory memory_{*this, Disposal::Memory::Kind::device};
    Memory pinned_{*this, Disposal::Memory::Kind::pinned};
    std::mutex mutex_;
    std::unique_ptr<const Kernels> kernels_;
    struct Arrivals {
        Stream stream;
        /// Behind what was put there, once somebody looks whether the stream is free again.
        Event end;
        bool is_marked;
    };
    std::vector<Arrivals> arrivals_;
    std::vector<Flag> flags_;
};

/// The GPU that some memory lies on (managed memory included); nothing for memory of the host, and
/// where there is no CUDA.
[[nodiscard]] std::optional<int> gpu_of(const void* pointer);

/// The GPU that the program works on in this thread, if any: that of the current context.
/// Throws CudaError where there is no CUDA.
[[nodiscard]] std::optional<int> current_gpu();

/// Is what is done on the stream being recorded into a graph? In the context of `gpu`.
[[nodiscard]] bool is_captured(const Gpu& gpu, Stream stream);

}  // namespace pycoll::cuda
