#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "results.hpp"

namespace fake_cuda {

/// Bugs of a program, planted beneath it: the driver does as if the program had them.
enum class Plant : std::uint8_t {
    drop_wait_event,  ///< cuStreamWaitEvent does nothing
    early_event,      ///< cuEventQuery says that an event was reached before it is
    wrong_stream,     ///< kernels are launched on another stream
};

/// Errors and bugs that tests ask for. Not to be used by two threads at once.
class Faults {
public:
    /// From FAKE_CUDA_FAIL="function:call:code,..." (the how manieth call of it, from 1) and
    /// FAKE_CUDA_PLANT.
    Faults();

    /// The nth call of a function from now on fails; "*" stands for all of them together.
    /// "kernel": the nth launch returns success, and the kernel fails when it runs.
    void fail(std::string function, std::uint64_t nth, Result code);
    void clear_failures() { failures_.clear(); }
    /// Counts a call. The error that it is to return, or success.
    [[nodiscard]] Result call(std::string_view function);
    [[nodiscard]] std::uint64_t calls(std::string_view function) const;

    /// "drop_wait_event,early_event:3": each of the first, every third of the second; none by "".
    /// False for unknown names, with nothing changed.
    [[nodiscard]] bool plant(std::string_view names);
    [[nodiscard]] bool is_planted() const {
        return std::ranges::any_of(planted_, [](const Planted& one) { return one.every != 0; });
    }
    /// Counts an occasion for a bug. Does it strike?
    [[nodiscard]] bool strikes(Plant plant);

private:
    struct Failure {
        std::string function;
        std::uint64_t left;
        Result code;
    };
    struct Planted {
        /// Every how manieth time; 0: never.
        std::uint64_t every = 0;
        std::uint64_t occasions = 0;
    };

    std::vector<Failure> failures_;
    std::map<std::string, std::uint64_t, std::less<>> calls_;
    std::array<Planted, 3> planted_{};
};

}  // namespace fake_cuda
