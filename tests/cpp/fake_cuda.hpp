#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "check.hpp"
#include "cuda/fake/fake_cuda.hpp"
#include "device/cuda/driver.hpp"
#include "device/cuda/fold_arguments.hpp"

/// A program on the fake driver, as short as tests want it.
namespace pycoll::test {

/// Makes the context of a GPU current while it lives, and lets go of what was made by it.
class FakeGpu {
public:
    explicit FakeGpu(int ordinal = 0);
    ~FakeGpu();
    FakeGpu(const FakeGpu&) = delete;
    FakeGpu& operator=(const FakeGpu&) = delete;

    const cuda::Driver& driver = cuda::Driver::instance();

    [[nodiscard]] cuda::Address allocate(std::size_t bytes);
    [[nodiscard]] std::byte* allocate_pinned(std::size_t bytes);
    [[nodiscard]] cuda::Stream stream(unsigned flags = cuda::stream_non_blocking);
    [[nodiscard]] cuda::Event event();

    void copy(cuda::Address dst, cuda::Address src, std::size_t bytes, cuda::Stream stream);
    void fill(cuda::Address dst, unsigned char value, std::size_t bytes, cuda::Stream stream);
    void record(cuda::Event event, cuda::Stream stream);
    void wait(cuda::Stream stream, cuda::Event event);
    void synchronize(cuda::Stream stream);
    /// dst = the sum of srcs, `count` float32 each. Its result.
    cuda::Result sum(cuda::Address dst, const std::vector<cuda::Address>& srcs, std::uint64_t count,
                     cuda::Stream stream);

private:
    int ordinal_;
    cuda::Module module_ = nullptr;
    cuda::Function sum_ = nullptr;
    std::vector<cuda::Address> allocations_;
    std::vector<void*> pinned_;
    std::vector<cuda::Stream> streams_;
    std::vector<cuda::Event> events_;
};

/// Plants bugs while it lives.
struct Planted {
    explicit Planted(const char* names) {
        check(fake_cuda_plant(names) == 1, "an unknown bug was to be planted");
    }
    ~Planted() { fake_cuda_plant(""); }
    Planted(const Planted&) = delete;
    Planted& operator=(const Planted&) = delete;
};

[[nodiscard]] inline cuda::Address address_of(const void* pointer) {
    return reinterpret_cast<cuda::Address>(pointer);
}

/// What lies at an address of a GPU.
template <typename Value>
[[nodiscard]] Value& seen(cuda::Address address) {
    return *static_cast<Value*>(fake_cuda_alias(reinterpret_cast<const void*>(address)));
}

inline void require(cuda::Result result) { check_equal(result, cuda::success, "CUDA's result"); }

}  // namespace pycoll::test
