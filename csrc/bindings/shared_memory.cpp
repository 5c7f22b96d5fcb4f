#include "bindings/shared_memory.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <cstdint>
#include <random>
#include <system_error>
#include <tuple>
#include <utility>

#include "bindings/module.hpp"
#include "bindings/numpy_memory.hpp"
#include "device/host/caches.hpp"
#include "transport/shared/cma.hpp"
#include "transport/shared/heap.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

/// Bytes of registered memory as a NumPy array, which owns them.
py::array registered(std::size_t bytes) {
    auto memory =
        std::make_unique<std::shared_ptr<std::byte>>(SharedHeap::instance().allocate(bytes));
    std::byte* const data = memory->get();
    const py::capsule owner(memory.get(), [](void* held) {
        const std::unique_ptr<std::shared_ptr<std::byte>> released(
            static_cast<std::shared_ptr<std::byte>*>(held));
    });
    static_cast<void>(memory.release());
    return py::array_t<std::uint8_t>(static_cast<py::ssize_t>(bytes),
                                     reinterpret_cast<std::uint8_t*>(data), owner);
}

/// A word by which others see that they reach the memory of this process, and no other's.
std::uint64_t& probe() {
    static std::uint64_t word = std::random_device()() * static_cast<std::uint64_t>(getpid());
    return word;
}

/// May the kernel copy from and to the memory of the process that shows the word at that address?
bool is_across(pid_t process, std::uintptr_t address, std::uint64_t word) {
    auto* const there = reinterpret_cast<void*>(address);
    std::uint64_t found = 0;
    try {
        cma::read(process, there, &found, sizeof(found));
        if (found != word) return false;
        cma::write(process, there, &found, sizeof(found));
    } catch (const std::system_error&) {
        return false;
    }
    return true;
}

}  // namespace

std::unique_ptr<Neighbours> neighbours(const std::shared_ptr<Segment>& segment,
                                       const std::vector<int>& ranks, std::vector<pid_t> processes,
                                       int rank, int size) {
    std::vector<int> numbers = ranks;
    const auto own = std::ranges::find(numbers, rank);
    const auto local = static_cast<int>(own - numbers.begin());
    return std::make_unique<Neighbours>(
        std::make_unique<SharedNode>(data_of(segment), local, std::move(processes)),
        std::move(numbers), size);
}

void bind_shared_memory(py::module_& m) {
    py::register_local_exception_translator([](std::exception_ptr thrown) {
        try {
            if (thrown) std::rethrow_exception(thrown);
        } catch (const std::system_error& error) {
            py::set_error(PyExc_OSError, py::make_tuple(error.code().value(), error.what()));
        }
    });
    py::class_<Segment, std::shared_ptr<Segment>>(m, "Segment")
        .def_static(
            "create",
            [](int ranks) {
                return std::make_shared<Segment>(Segment::create(SharedNode::bytes(ranks)));
            },
            py::arg("ranks"))
        .def_static(
            "attach",
            [](pid_t process, int descriptor, std::size_t bytes) {
                return std::make_shared<Segment>(Segment::attach({process, descriptor, bytes}));
            },
            py::arg("process"), py::arg("descriptor"), py::arg("bytes"))
        .def_property_readonly("name",
                               [](const Segment& self) {
                                   const SegmentName name = self.name();
                                   return std::tuple(name.owner, name.descriptor, name.bytes);
                               })
        .def("close_name", &Segment::close_name);
    m.def("cma_probe",
          [] { return std::tuple(getpid(), reinterpret_cast<std::uintptr_t>(&probe()), probe()); });
    m.def("takes_lines_over", &host::owners_write_slowly);
    m.def("most_cached", &host::most_cached);
    m.def("is_across", &is_across, py::arg("process"), py::arg("address"), py::arg("word"));
    m.def("allocate", &registered, py::arg("bytes"));
    m.def("share_numpy_arrays", &share_numpy_arrays);
    m.def(
        "is_registered",
        [](const py::array& array) {
            return SharedHeap::instance()
                .find(array.data(), static_cast<std::size_t>(array.nbytes()))
                .has_value();
        },
        py::arg("array"));
}

}  // namespace pycoll
