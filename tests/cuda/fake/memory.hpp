#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "accesses.hpp"
#include "device_memory.hpp"
#include "results.hpp"

namespace fake_cuda {

struct ContextState;

enum class Kind : std::uint8_t {
    device,
    pinned,  ///< the host's, where GPUs reach it
    mapped,  ///< another process's device memory
};

/// Memory that CUDA knows.
struct Allocation {
    Kind kind;
    /// Where the program sees it. It cannot touch a GPU's memory there.
    Address begin;
    std::size_t bytes;
    /// Where this library reads and writes it.
    std::byte* alias;
    /// The GPU that it is on, or whose context it was made in.
    int device;
    ContextState* context;
    Accesses accesses = {};
    /// Of mapped memory: where it comes from, and how often it was opened.
    MappedPiece::Name origin = {};
    int opened = 0;
};

/// All allocations of the process, by where they begin.
using Allocations = std::map<Address, Allocation>;

/// The one that an address lies in; null for none.
[[nodiscard]] Allocation* find_allocation(Allocations& allocations, Address address);

}  // namespace fake_cuda
