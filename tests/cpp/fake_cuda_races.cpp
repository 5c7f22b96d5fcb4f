#include <array>
#include <atomic>
#include <thread>

#include "fake_cuda.hpp"

namespace pycoll::test::races {
namespace {

using cuda::Address;

constexpr std::uint64_t count = 1024;
constexpr std::size_t bytes = count * sizeof(float);

/// Uploads, folds and downloads a few chunks through one stage each way, on three streams that
/// events order, as the engine does. Returns how many races were found.
std::uint64_t pipeline() {
    const std::uint64_t before = fake_cuda_races();
    FakeGpu gpu;
    const auto upload = gpu.stream();
    const auto compute = gpu.stream();
    const auto download = gpu.stream();
    const auto uploaded = gpu.event();
    const auto folded = gpu.event();
    const auto downloaded = gpu.event();
    const Address stage = gpu.allocate(bytes);
    const Address result = gpu.allocate(bytes);
    std::byte* const from = gpu.allocate_pinned(bytes);
    std::byte* const to = gpu.allocate_pinned(bytes);
    gpu.fill(result, 0, bytes, compute);
    for (int chunk = 0; chunk < 4; ++chunk) {
        gpu.wait(upload, folded);
        gpu.copy(stage, address_of(from), bytes, upload);
        gpu.record(uploaded, upload);
        gpu.wait(compute, uploaded);
        gpu.wait(compute, downloaded);
        require(gpu.sum(result, {result, stage}, count, compute));
        gpu.record(folded, compute);
        gpu.wait(download, folded);
        gpu.copy(address_of(to), result, bytes, download);
        gpu.record(downloaded, download);
    }
    require(gpu.driver.synchronize());
    return fake_cuda_races() - before;
}

/// A stage that is filled again when an event, which the host asks for, says that it was read: not
/// before `read` is set, which it is now or when the event has said so.
std::uint64_t refill(bool set_now) {
    const std::uint64_t before = fake_cuda_races();
    FakeGpu gpu;
    const auto upload = gpu.stream();
    const auto download = gpu.stream();
    const auto downloaded = gpu.event();
    const Address stage = gpu.allocate(bytes);
    std::byte* const host = gpu.allocate_pinned(2 * bytes);
    auto* const read = new (gpu.allocate_pinned(4)) std::atomic<std::uint32_t>(set_now ? 1 : 0);
    gpu.fill(stage, 1, bytes, download);
    require(gpu.driver.wait_value(download, address_of(read), 1, cuda::wait_value_at_least));
    gpu.copy(address_of(host), stage, bytes, download);
    gpu.record(downloaded, download);
    while (gpu.driver.query_event(downloaded) == cuda::not_ready) std::this_thread::yield();
    gpu.copy(stage, address_of(host + bytes), bytes, upload);
    gpu.synchronize(upload);
    read->store(1);
    gpu.synchronize(download);
    return fake_cuda_races() - before;
}

const Test correct_programs("fake_cuda: programs with all events in place have no races", [] {
    check_equal(pipeline(), 0U);
    check_equal(refill(true), 0U);
});

const Test dropped_wait("fake_cuda: the race of a missing wait for an event is found", [] {
    const Planted planted("drop_wait_event");
    check(pipeline() > 0, "no race was found");
});

const Test one_dropped_wait("fake_cuda: one missing wait of many is enough", [] {
    const Planted planted("drop_wait_event:7");
    check(pipeline() > 0, "no race was found");
});

const Test early_event("fake_cuda: the race of a stage that is used again too early is found", [] {
    const Planted planted("early_event");
    check(refill(false) > 0, "no race was found");
});

const Test wrong_stream("fake_cuda: the race of a kernel on the wrong stream is found", [] {
    const Planted planted("wrong_stream");
    check(pipeline() > 0, "no race was found");
});

const Test reads_do_not_race("fake_cuda: two streams may read the same, but not write it", [] {
    const std::uint64_t before = fake_cuda_races();
    FakeGpu gpu;
    const std::array streams{gpu.stream(), gpu.stream()};
    const Address shared = gpu.allocate(2 * bytes);
    const Address own = gpu.allocate(2 * bytes);
    gpu.fill(shared, 1, 2 * bytes, streams[0]);
    gpu.synchronize(streams[0]);
    for (std::size_t i = 0; i < 2; ++i) {
        gpu.copy(own + i * bytes, shared + bytes / 2, bytes, streams[i]);
    }
    for (const auto stream : streams) gpu.synchronize(stream);
    check_equal(fake_cuda_races(), before, "of reads");
    // They share one byte.
    gpu.fill(own, 1, bytes + 1, streams[0]);
    gpu.fill(own + bytes, 2, bytes, streams[1]);
    for (const auto stream : streams) gpu.synchronize(stream);
    check_equal(fake_cuda_races(), before + 1, "of writes");
});

const Test outside("fake_cuda: a message races with what is done before the host saw its end", [] {
    FakeGpu gpu;
    const auto stream = gpu.stream();
    const Address memory = gpu.allocate(bytes);
    const auto races_when = [&](bool ended) {
        const std::uint64_t before = fake_cuda_races();
        const std::uint64_t message =
            fake_cuda_access_begins(reinterpret_cast<const void*>(memory), bytes, 0, "a message");
        if (ended) fake_cuda_access_ends(message);
        gpu.fill(memory, 1, bytes, stream);
        gpu.synchronize(stream);
        if (!ended) fake_cuda_access_ends(message);
        return fake_cuda_races() - before;
    };
    check_equal(races_when(true), 0U, "ended");
    check_equal(races_when(false), 1U, "under way");
    check_equal(races_when(true), 0U, "ended again");
});

const Test flags("fake_cuda: a stream that waits for a word comes after what the host knew", [] {
    const std::uint64_t before = fake_cuda_races();
    FakeGpu gpu;
    const auto writer = gpu.stream();
    const auto reader = gpu.stream();
    const Address memory = gpu.allocate(bytes);
    auto* const word = new (gpu.allocate_pinned(4)) std::atomic<std::uint32_t>(0);
    std::byte* const result = gpu.allocate_pinned(bytes);
    require(gpu.driver.wait_value(reader, address_of(word), 3, cuda::wait_value_at_least));
    gpu.copy(address_of(result), memory, bytes, reader);
    gpu.fill(memory, 5, bytes, writer);
    gpu.synchronize(writer);
    word->store(4);
    gpu.synchronize(reader);
    check(result[bytes - 1] == std::byte{5}, "the stream did not wait");
    check_equal(fake_cuda_races(), before);
});

}  // namespace
}  // namespace pycoll::test::races
