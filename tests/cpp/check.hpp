#pragma once

#include <concepts>
#include <functional>
#include <source_location>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

/// What the unit tests of the core need: named tests and checks that say where they failed.
namespace pycoll::test {

/// Registers a test under a name; `main` runs all of them.
///
///     const Test ring_is_proven("ring is proven", [] { check(...); });
struct Test {
    Test(std::string_view name, std::function<void()> body);
};

struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

[[noreturn]] void fail(const std::string& what, const std::source_location& where);

/// Ends the test unless `holds`.
inline void check(bool holds, const std::string& what = "check failed",
                  const std::source_location& where = std::source_location::current()) {
    if (!holds) fail(what, where);
}

template <typename A, typename B>
    requires std::equality_comparable_with<A, B>
void check_equal(const A& actual, const B& expected, const std::string& what = "",
                 const std::source_location& where = std::source_location::current()) {
    if (actual == expected) return;
    std::ostringstream text;
    text << what << (what.empty() ? "" : ": ") << "got " << actual << ", expected " << expected;
    fail(text.str(), where);
}

/// Ends the test unless `action` throws an Error whose text contains `part`.
template <typename Error, typename Action>
void check_throws(Action&& action, std::string_view part,
                  const std::source_location& where = std::source_location::current()) {
    try {
        action();
    } catch (const Error& error) {
        check(
            std::string_view(error.what()).find(part) != std::string_view::npos,
            "the error is '" + std::string(error.what()) + "', without '" + std::string(part) + "'",
            where);
        return;
    }
    fail("nothing was thrown", where);
}

}  // namespace pycoll::test
