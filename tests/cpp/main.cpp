#include <chrono>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "check.hpp"

namespace pycoll::test {
namespace {

using Named = std::pair<std::string_view, std::function<void()>>;

std::vector<Named>& tests() {
    static std::vector<Named> all;
    return all;
}

bool run(const Named& test) {
    const auto start = std::chrono::steady_clock::now();
    std::string failure;
    try {
        test.second();
    } catch (const std::exception& error) {
        failure = error.what();
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::cout << (failure.empty() ? "ok    " : "FAIL  ") << test.first << "  (" << took.count()
              << " s)\n";
    if (!failure.empty()) std::cout << "      " << failure << '\n';
    std::cout.flush();
    return failure.empty();
}

}  // namespace

Test::Test(std::string_view name, std::function<void()> body) {
    tests().emplace_back(name, std::move(body));
}

void fail(const std::string& what, const std::source_location& where) {
    std::ostringstream text;
    text << where.file_name() << ':' << where.line() << ": " << what;
    throw Failure(text.str());
}

}  // namespace pycoll::test

/// Runs the tests whose names contain the first argument, all without one. Of these, with two more
/// arguments k and n, only every nth from the kth on.
int main(int argc, char** argv) {
    const std::string_view filter = argc > 1 ? argv[1] : "";
    const unsigned long part = argc > 3 ? std::stoul(argv[2]) : 1;
    const unsigned long parts = argc > 3 ? std::stoul(argv[3]) : 1;
    unsigned long found = 0;
    int passed = 0;
    int failed = 0;
    for (const auto& test : pycoll::test::tests()) {
        if (test.first.find(filter) == std::string_view::npos) continue;
        if (++found % parts != part % parts) continue;
        ++(pycoll::test::run(test) ? passed : failed);
    }
    std::cout << passed << " passed, " << failed << " failed\n";
    return failed == 0 && passed > 0 ? 0 : 1;
}
