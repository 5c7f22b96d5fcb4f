// The memory of NumPy's arrays, by the interface of NEP 49, Data allocation strategies.
//
// An array keeps the allocator that made it, so small arrays, and those made before, go on as they
// were. NumPy's threads have contexts of their own: arrays that other threads make are NumPy's.

#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION

#include "bindings/numpy_memory.hpp"

#include <pybind11/pybind11.h>

#include <numpy/arrayobject.h>

#include <unistd.h>
#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>
#include <system_error>

#include "transport/shared/heap.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

constexpr std::string_view own_name = "pycoll";
constexpr const char* capsule_name = "mem_handler";

/// NumPy's own allocator. Set once, and never given back: arrays may outlive everything else.
const PyDataMemAllocator* numpys = nullptr;

/// Longer arrays NumPy must refuse, or not, by the rules of the system for private memory.
std::size_t most_bytes() {
    static const std::size_t memory = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
                                      static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    return memory;
}

bool is_shared(std::size_t bytes) {
    return bytes >= SharedHeap::least_numpy_bytes && bytes <= most_bytes();
}

/// Null where there is no such memory; then NumPy's own allocator may have some.
void* take(std::size_t bytes, SharedHeap::Content content) {
    try {
        return SharedHeap::instance().take(bytes, content);
    } catch (const std::system_error&) {
        return nullptr;
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

void* allocate(void*, std::size_t bytes) {
    if (is_shared(bytes)) {
        if (void* const data = take(bytes, SharedHeap::Content::undefined)) return data;
    }
    return numpys->malloc(numpys->ctx, bytes);
}

void* allocate_zeros(void*, std::size_t count, std::size_t size) {
    const bool fits = size == 0 || count <= std::numeric_limits<std::size_t>::max() / size;
    if (fits && is_shared(count * size)) {
        if (void* const data = take(count * size, SharedHeap::Content::zeros)) return data;
    }
    return numpys->calloc(numpys->ctx, count, size);
}

/// NumPy knows no exceptions. Where there is no memory to note that this is free, it is lost.
void give_back(const void* data) {
    try {
        SharedHeap::instance().give_back(static_cast<const std::byte*>(data));
    } catch (const std::bad_alloc&) {
    }
}

void release(void*, void* data, std::size_t bytes) {
    if (SharedHeap::instance().taken_at(data) > 0) {
        give_back(data);
    } else {
        numpys->free(numpys->ctx, data, bytes);
    }
}

/// What stays in NumPy's memory when it grows does not move to the heap: nobody knows how long it
/// has been.
void* reallocate(void*, void* data, std::size_t bytes) {
    const std::size_t before = data == nullptr ? 0 : SharedHeap::instance().taken_at(data);
    if (before == 0) return numpys->realloc(numpys->ctx, data, bytes);
    if (bytes <= before && bytes > before / 2) return data;
    void* const moved = allocate(nullptr, bytes);
    if (moved == nullptr) return nullptr;
    std::memcpy(moved, data, std::min(before, bytes));
    give_back(data);
    return moved;
}

PyDataMem_Handler make_handler() {
    PyDataMem_Handler handler{};
    std::ranges::copy(own_name, handler.name);
    handler.version = 1;
    handler.allocator = {nullptr, allocate, allocate_zeros, reallocate, release};
    return handler;
}

PyDataMem_Handler* handler_in(const py::object& capsule) {
    auto* const handler =
        static_cast<PyDataMem_Handler*>(PyCapsule_GetPointer(capsule.ptr(), capsule_name));
    if (handler == nullptr) throw py::error_already_set();
    return handler;
}

}  // namespace

bool share_numpy_arrays() {
    if (PyArray_ImportNumPyAPI() < 0) throw py::error_already_set();
    const auto current = py::reinterpret_steal<py::object>(PyDataMem_GetHandler());
    if (!current) throw py::error_already_set();
    if (handler_in(current)->name == own_name) return true;
    if (current.ptr() != PyDataMem_DefaultHandler) return false;
    static PyDataMem_Handler handler = make_handler();
    numpys = &handler_in(current)->allocator;
    const py::capsule own(&handler, capsule_name);
    if (!py::reinterpret_steal<py::object>(PyDataMem_SetHandler(own.ptr()))) {
        throw py::error_already_set();
    }
    return true;
}

}  // namespace pycoll
