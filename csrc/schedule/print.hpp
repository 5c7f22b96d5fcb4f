#pragma once

#include <string>

#include "schedule/schedule.hpp"

namespace pycoll {

[[nodiscard]] std::string to_string(const Slice& slice);
/// One line: "recv_reduce from 3: output[0:8) = input[0:8) + message".
[[nodiscard]] std::string to_string(const Step& step);
/// A table, one line per step, with the steps each waits for.
[[nodiscard]] std::string to_string(const Schedule& schedule);

}  // namespace pycoll
