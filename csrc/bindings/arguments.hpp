#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "device/cuda/driver.hpp"

namespace pycoll {

/// What the caller passed, from Python's types to ours. Each throws pybind11::type_error or
/// value_error that names the argument and says what to pass instead.

/// An integer of any type that is one to Python (NumPy's too), from `least` to `most`.
[[nodiscard]] std::int64_t integer_argument(pybind11::handle value, const char* argument,
                                            std::int64_t least, std::int64_t most);

[[nodiscard]] std::string text_argument(pybind11::handle value, const char* argument);

/// A number of seconds from 0, or None.
[[nodiscard]] std::optional<std::chrono::nanoseconds> timeout_argument(pybind11::handle value);

/// A number of seconds that was checked already.
[[nodiscard]] std::chrono::nanoseconds nanoseconds(double seconds);

/// Runs `action`; errors about arguments say which rank and which function raises them, and so do
/// those of CUDA, which are about what the arguments lie on.
template <typename Action>
auto naming(int rank, std::string_view function, Action&& action) {
    const auto text = [&](const char* what) {
        return "rank " + std::to_string(rank) + ": " + std::string(function) + ": " + what;
    };
    try {
        return action();
    } catch (const pybind11::type_error& error) {
        throw pybind11::type_error(text(error.what()));
    } catch (const pybind11::value_error& error) {
        throw pybind11::value_error(text(error.what()));
    } catch (const std::invalid_argument& error) {
        throw pybind11::value_error(text(error.what()));
    } catch (const cuda::CudaError& error) {
        throw cuda::CudaError(text(error.what()), error.code);
    }
}

}  // namespace pycoll
