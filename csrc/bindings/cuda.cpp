#include <pybind11/stl.h>

#include <array>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/module.hpp"
#include "device/cuda/driver.hpp"
#include "device/cuda/kernels.hpp"

namespace pycoll {
namespace {

namespace py = pybind11;

/// The version as CUDA writes it: 13000 is 13.0.
std::tuple<int, int> driver_version() {
    const cuda::Driver& driver = cuda::Driver::instance();
    int version = 0;
    driver.require(driver.driver_version(&version), "cuDriverGetVersion");
    return {version / 1000, version % 1000 / 10};
}

/// Name and compute capability of each GPU.
std::vector<std::tuple<std::string, int, int>> devices() {
    const cuda::Driver& driver = cuda::Driver::instance();
    int count = 0;
    driver.require(driver.device_count(&count), "cuDeviceGetCount");
    std::vector<std::tuple<std::string, int, int>> found;
    for (int ordinal = 0; ordinal < count; ++ordinal) {
        int device = 0;
        driver.require(driver.device(&device, ordinal), "cuDeviceGet");
        std::array<char, 256> name{};
        driver.require(driver.device_name(name.data(), static_cast<int>(name.size()) - 1, device),
                       "cuDeviceGetName");
        int major = 0;
        int minor = 0;
        driver.require(driver.device_attribute(&major, cuda::attribute_major, device),
                       "cuDeviceGetAttribute");
        driver.require(driver.device_attribute(&minor, cuda::attribute_minor, device),
                       "cuDeviceGetAttribute");
        found.emplace_back(name.data(), major, minor);
    }
    return found;
}

}  // namespace

void bind_cuda(py::module_& m) {
    m.def("cuda_architectures", [] {
        const auto names = cuda::architectures();
        return std::vector<std::string>(names.begin(), names.end());
    });
    m.def("cuda_driver_version", &driver_version, py::call_guard<py::gil_scoped_release>());
    m.def("cuda_devices", &devices, py::call_guard<py::gil_scoped_release>());
}

}  // namespace pycoll
