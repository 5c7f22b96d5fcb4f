#include "device/cuda/driver.hpp"

#include <dlfcn.h>

namespace pycoll::cuda {
namespace {

constexpr const char* library_name = "libcuda.so.1";

template <typename Pointer>
void find(void* library, const char* symbol, Pointer& function) {
    void* const found = dlsym(library, symbol);
    if (found == nullptr) {
        throw CudaError(std::string(library_name) + " has no " + symbol +
                        ": the NVIDIA driver is too old; pycoll needs that of CUDA 12 or newer");
    }
    function = reinterpret_cast<Pointer>(found);
}

Driver load() {
    // Never closed: others of this process use it, too.
    void* const library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        // By one thread: a static variable is initialised only once.
        const char* const why = dlerror();  // NOLINT(concurrency-mt-unsafe)
        throw CudaError(std::string("no NVIDIA driver: ") + (why ? why : library_name));
    }
    Driver driver;
#define PYCOLL_CUDA_FIND(name, symbol, ...) find(library, symbol, driver.name);
    PYCOLL_CUDA_FUNCTIONS(PYCOLL_CUDA_FIND)
#undef PYCOLL_CUDA_FIND
    driver.require(driver.init(0), "cuInit");
    return driver;
}

}  // namespace

const Driver& Driver::instance() {
    static const Driver driver = load();
    return driver;
}

void Driver::require(Result result, const char* symbol) const {
    if (result == success) return;
    const char* name = nullptr;
    const char* text = nullptr;
    error_name(result, &name);
    error_text(result, &text);
    throw CudaError(std::string(symbol) + ": " + (name ? name : std::to_string(result)) +
                        (text ? " (" + std::string(text) + ")" : ""),
                    result);
}

}  // namespace pycoll::cuda
