#include "faults.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace fake_cuda {
namespace {

constexpr std::array<std::string_view, 3> plant_names = {"drop_wait_event", "early_event",
                                                         "wrong_stream"};

std::vector<std::string> split(std::string_view text, char separator) {
    std::vector<std::string> parts;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(separator), text.size());
        parts.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return parts;
}

[[noreturn]] void refuse(const char* variable, const char* value) {
    std::fprintf(stderr, "FAKE CUDA: cannot read %s='%s'\n", variable, value);
    std::abort();
}

}  // namespace

Faults::Faults() {
    if (const char* const failures = std::getenv("FAKE_CUDA_FAIL")) {
        for (const std::string& failure : split(failures, ',')) {
            const auto parts = split(failure, ':');
            if (parts.size() != 3) refuse("FAKE_CUDA_FAIL", failures);
            fail(parts[0], std::strtoull(parts[1].c_str(), nullptr, 10),
                 static_cast<Result>(std::strtol(parts[2].c_str(), nullptr, 10)));
        }
    }
    if (const char* const names = std::getenv("FAKE_CUDA_PLANT")) {
        if (!plant(names)) refuse("FAKE_CUDA_PLANT", names);
    }
}

void Faults::fail(std::string function, std::uint64_t nth, Result code) {
    failures_.push_back({std::move(function), nth, code});
}

Result Faults::call(std::string_view function) {
    const auto counted = calls_.find(function);
    if (counted == calls_.end()) {
        calls_.emplace(function, 1);
    } else {
        ++counted->second;
    }
    Result result = success;
    for (Failure& failure : failures_) {
        const bool matches =
            failure.function == function || (failure.function == "*" && function.starts_with("cu"));
        if (!matches || failure.left == 0) continue;
        if (--failure.left == 0 && result == success) result = failure.code;
    }
    return result;
}

std::uint64_t Faults::calls(std::string_view function) const {
    const auto counted = calls_.find(function);
    return counted == calls_.end() ? 0 : counted->second;
}

bool Faults::plant(std::string_view names) {
    std::array<Planted, 3> planted{};
    for (const std::string& one : split(names, ',')) {
        const auto parts = split(one, ':');
        const auto found =
            parts.empty() ? plant_names.end() : std::ranges::find(plant_names, parts[0]);
        if (found == plant_names.end() || parts.size() > 2) return false;
        planted[static_cast<std::size_t>(found - plant_names.begin())].every =
            parts.size() == 2 ? std::strtoull(parts[1].c_str(), nullptr, 10) : 1;
    }
    planted_ = planted;
    return true;
}

bool Faults::strikes(Plant plant) {
    Planted& planted = planted_[static_cast<std::size_t>(plant)];
    return planted.every != 0 && ++planted.occasions % planted.every == 0;
}

}  // namespace fake_cuda
