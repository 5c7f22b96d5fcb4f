#pragma once

#include <cstddef>
#include <cstdint>

/// What the fake driver has beyond the real one: for tests, which link libcuda.so.1 or find these
/// by dlsym().
extern "C" {

/// Where the host may read and write what lies at an address of a GPU (also within an allocation);
/// null for what is not a GPU's memory.
void* fake_cuda_alias(const void* pointer);

/// How many pairs of accesses raced so far. Each is reported on stderr.
std::uint64_t fake_cuda_races();
/// How often something was done that CUDA leaves undefined: memory freed under a running operation
/// or under another process that maps it. Reported on stderr, too.
std::uint64_t fake_cuda_misuses();

/// How much is alive of "allocations", "bytes" (both of GPUs), "pinned", "pinned_bytes",
/// "mappings", "streams", "events" and "modules"; all ones for other words.
std::uint64_t fake_cuda_alive(const char* what);
/// How often a function of the driver was called.
std::uint64_t fake_cuda_calls(const char* function);

/// The nth call from now on of a function ("*": of any; "kernel": of the kernels themselves) fails.
void fake_cuda_fail(const char* function, std::uint64_t nth, int code);
void fake_cuda_clear_failures();
/// Contexts with an error that sticks are as new. The real driver wants a new process for that.
void fake_cuda_repair();

/// "drop_wait_event", "early_event" and "wrong_stream", separated by commas, each with ":n" for
/// every nth occasion only; "" for none. 0 if it does not know them.
int fake_cuda_plant(const char* names);

/// From now on (or no longer), memory of a GPU, and pinned memory, is had only when all streams
/// have come to their end, as CUDA may do.
void fake_cuda_allocations_wait(int on);

/// Begins or ends the capture of a graph on a stream. Nothing can be put on it meanwhile. 0 if
/// there is no such stream.
int fake_cuda_capture(void* stream, int on);

/// Something beside the host's threads, as a network card, starts to read or write memory that CUDA
/// knows: it races with what is done there before the host knows of the end. Returns a number to
/// end it with; 0 for other memory.
std::uint64_t fake_cuda_access_begins(const void* pointer, std::size_t bytes, int writes,
                                      const char* what);
void fake_cuda_access_ends(std::uint64_t access);
}
