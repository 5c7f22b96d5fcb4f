#pragma once

#include <cstdint>

namespace fake_cuda {

/// What the environment says when the library is loaded.
struct Settings {
    /// FAKE_CUDA_DEVICES: how many GPUs there are.
    int devices;
    /// FAKE_CUDA_PEER_ACCESS: can GPUs reach each other's memory?
    bool peer_access;
    /// FAKE_CUDA_SEED and FAKE_CUDA_MAX_DELAY_US: each operation starts late, by chance.
    std::uint64_t seed;
    std::uint64_t max_delay_us;
    /// FAKE_CUDA_RACE=abort: the process ends at the first race.
    bool abort_at_race;
};

[[nodiscard]] const Settings& settings();

}  // namespace fake_cuda
