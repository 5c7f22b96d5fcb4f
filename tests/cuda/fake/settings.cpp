#include "settings.hpp"

#include <cstdlib>
#include <string>
#include <string_view>

namespace fake_cuda {
namespace {

std::uint64_t number(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

Settings read() {
    const char* const race = std::getenv("FAKE_CUDA_RACE");
    return {.devices = static_cast<int>(number("FAKE_CUDA_DEVICES", 1)),
            .peer_access = number("FAKE_CUDA_PEER_ACCESS", 1) != 0,
            .seed = number("FAKE_CUDA_SEED", 0),
            .max_delay_us = number("FAKE_CUDA_MAX_DELAY_US", 50),
            .abort_at_race = race != nullptr && std::string_view(race) == "abort"};
}

}  // namespace

const Settings& settings() {
    static const Settings all = read();
    return all;
}

}  // namespace fake_cuda
