// Copies by the kernel between processes that share no memory.

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <string>
#include <system_error>
#include <vector>

#include "check.hpp"
#include "cma_allowed.hpp"
#include "transport/shared/cma.hpp"

namespace pycoll::test::transport_cma {
namespace {

/// A process that has got what this one had, and waits for its end.
class OtherProcess {
public:
    OtherProcess() : process_(fork()) {
        if (process_ < 0) fail("cannot fork", std::source_location::current());
        while (process_ == 0) pause();
    }
    ~OtherProcess() { end(); }
    OtherProcess(const OtherProcess&) = delete;
    OtherProcess& operator=(const OtherProcess&) = delete;

    void end() {
        if (is_gone_) return;
        kill(process_, SIGKILL);
        waitpid(process_, nullptr, 0);
        is_gone_ = true;
    }
    [[nodiscard]] pid_t process() const { return process_; }

private:
    pid_t process_;
    bool is_gone_ = false;
};

const Test both_ways("cma: bytes are read from, and written to, the memory of another process", [] {
    if (!is_cma_allowed()) return;
    std::vector<int> array(100'000);
    std::ranges::fill(array, 1);
    const OtherProcess other;
    std::ranges::fill(array, 2);
    std::vector<int> seen(array.size());
    const std::size_t bytes = array.size() * sizeof(int);
    cma::read(other.process(), array.data(), seen.data(), bytes);
    check(std::ranges::count(seen, 1) == 100'000, "read");
    // From the middle of a page to the middle of another.
    cma::write(other.process(), &array[333], &array[5], 70'000 * sizeof(int));
    cma::read(other.process(), array.data(), seen.data(), bytes);
    check(std::ranges::count(seen, 2) == 70'000, "written");
    check(seen[332] == 1 && seen[333] == 2 && seen[70'332] == 2 && seen[70'333] == 1, "where");
    check(std::ranges::count(array, 2) == 100'000, "this process has its own");
    cma::read(other.process(), array.data(), seen.data(), 0);
});

const Test out_of_reach("cma: memory that is not there, and a process that is gone, are errors",
                        [] {
                            if (!is_cma_allowed()) return;
                            constexpr std::size_t page = 4096;
                            void* const memory = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE,
                                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                            munmap(static_cast<std::byte*>(memory) + page, page);
                            std::vector<std::byte> here(2 * page);
                            OtherProcess other;
                            const std::string who = "and " + std::to_string(other.process()) + ": ";
                            // The first half of it is there.
                            check_throws<std::system_error>(
                                [&] { cma::read(other.process(), memory, here.data(), 2 * page); },
                                who + "Bad address");
                            check_throws<std::system_error>(
                                [&] { cma::write(other.process(), memory, here.data(), 2 * page); },
                                who + "Bad address");
                            check(cma::is_reached(memory, page), "a page");
                            check(!cma::is_reached(memory, 2 * page), "its end is missing");
                            check(cma::is_reached(nullptr, 0), "nothing is not missing");
                            other.end();
                            check_throws<std::system_error>(
                                [&] { cma::read(other.process(), memory, here.data(), 1); },
                                who + "No such process");
                            munmap(memory, page);
                        });

}  // namespace
}  // namespace pycoll::test::transport_cma
