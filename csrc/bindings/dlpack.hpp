#pragma once

#include <cstdint>

/// The structures of the DLPack exchange format, version 1.0, laid out as its specification says.
namespace pycoll::dlpack {

struct Device {
    std::int32_t type;
    std::int32_t id;
};
inline constexpr std::int32_t device_cpu = 1;
inline constexpr std::int32_t device_cuda = 2;
/// Memory of the host that is pinned for a GPU.
inline constexpr std::int32_t device_cuda_host = 3;
inline constexpr std::int32_t device_rocm_host = 11;
inline constexpr std::int32_t device_cuda_managed = 13;

struct DataType {
    std::uint8_t code;
    std::uint8_t bits;
    std::uint16_t lanes;
};
enum TypeCode : std::uint8_t {
    code_int = 0,
    code_uint = 1,
    code_float = 2,
    code_bfloat = 4,
    code_bool = 6
};

struct Tensor {
    void* data;
    Device device;
    std::int32_t ndim;
    DataType dtype;
    std::int64_t* shape;
    std::int64_t* strides;
    std::uint64_t byte_offset;
};

/// The name of a capsule says which of the two it holds; of one that has been consumed, it is
/// another one.
inline constexpr const char* name = "dltensor";
inline constexpr const char* versioned_name = "dltensor_versioned";

struct ManagedTensor {
    Tensor tensor;
    void* context;
    void (*deleter)(ManagedTensor*);
};

struct Version {
    std::uint32_t major;
    std::uint32_t minor;
};
inline constexpr std::uint64_t flag_read_only = 1;

struct ManagedTensorVersioned {
    Version version;
    void* context;
    void (*deleter)(ManagedTensorVersioned*);
    std::uint64_t flags;
    Tensor tensor;
};

}  // namespace pycoll::dlpack
