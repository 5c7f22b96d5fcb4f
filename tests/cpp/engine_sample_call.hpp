#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.hpp"
#include "core/reduction.hpp"
#include "engine/call.hpp"

namespace pycoll::test {

/// One rank's part of a collective call over whole numbers, which every data type holds exactly,
/// with what must come out of it.
class SampleCall {
public:
    struct Shape {
        Collective collective = Collective::all_reduce;
        int size = 1;
        std::uint64_t count = 0;
        int root = 0;
        bool in_place = false;
        /// Are this rank's arrays in registered memory?
        bool registered = false;
        /// The GPU that they lie on.
        std::optional<int> gpu = std::nullopt;
        /// Block i of a v-form has (count + i) % 5 elements; of all_to_all, that of rank a for b
        /// (count + a + 2 b) % 5.
        bool with_counts = false;
        DType dtype = DType::i32;
        ReduceOp op = ReduceOp::sum;
        std::string algorithm = "auto";
        std::uint64_t chunk_bytes = 0;
        /// Other seeds, other values.
        int seed = 0;
    };

    SampleCall(Shape shape, int rank);

    [[nodiscard]] const Call& call() const { return call_; }
    /// Throws Failure unless the output is right, and the memory around it and the input, if it
    /// is elsewhere, are unchanged.
    void check() const;

private:
    [[nodiscard]] Request request(int rank) const;
    [[nodiscard]] std::int64_t value(int rank, std::uint64_t index) const;
    [[nodiscard]] std::int64_t expected(std::uint64_t index) const;
    [[nodiscard]] std::int64_t folded(std::uint64_t index) const;
    [[nodiscard]] std::string describe() const;
    static std::size_t at(int rank) { return static_cast<std::size_t>(rank); }

    /// Memory that holds an array and more.
    class Memory {
    public:
        void assign(std::size_t bytes, std::byte value, const Shape& shape);
        [[nodiscard]] std::byte* data() const { return data_.get(); }
        /// Where the host finds it.
        [[nodiscard]] std::byte* seen() const { return seen_; }
        [[nodiscard]] std::span<const std::byte> bytes() const { return {seen_, bytes_}; }

    private:
        std::shared_ptr<std::byte> data_;
        std::byte* seen_ = nullptr;
        std::size_t bytes_ = 0;
    };

    Shape shape_;
    int rank_;
    Call call_;
    Memory input_;
    Memory output_;
    std::size_t output_start_ = 0;
    std::size_t output_bytes_ = 0;
    std::vector<std::byte> input_before_;
    /// Of each rank.
    std::vector<Blocks> blocks_;
    Blocks received_ = Blocks::uniform(0, 1);
};

}  // namespace pycoll::test
