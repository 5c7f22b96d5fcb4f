#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "engine/call.hpp"
#include "engine/choose.hpp"
#include "engine/plan.hpp"
#include "schedule/price.hpp"
#include "schedule/request.hpp"

namespace pycoll {

/// Remembers the plans of earlier calls, so that a repeated call costs a look-up instead of
/// choosing an algorithm and building a schedule. Not thread-safe.
class PlanCache {
public:
    explicit PlanCache(CostModel model, Wishes wishes = {})
        : model_(std::move(model)), wishes_(std::move(wishes)) {}

    /// The plan of a collective call within `reach`. Throws std::invalid_argument for an algorithm
    /// that does not exist or cannot serve the call.
    [[nodiscard]] std::shared_ptr<const Plan> collective(const Request& request, const Call& call,
                                                         Reach reach);

    /// The plan by which some ranks, this one among them, wait for each other.
    [[nodiscard]] const std::shared_ptr<const Plan>& meeting(int rank, int size,
                                                             std::span<const int> ranks);

    /// The plan by which all ranks show each other `words` words: see roll_call().
    [[nodiscard]] const std::shared_ptr<const Plan>& showing(int rank, int size,
                                                             std::uint64_t words);

    /// The plan of a single message of `bytes` bytes.
    [[nodiscard]] std::shared_ptr<const Plan> message(StepKind kind, int rank, int size, int peer,
                                                      std::size_t bytes);

    /// As choose(), but remembers: choosing means walking through whole schedules.
    [[nodiscard]] Choice choice(const Request& request, const Call& call, Reach reach);

    void clear();

private:
    /// What a look-up needs, without copies.
    struct KeyView {
        const Request& request;
        std::size_t element_size;
        std::string_view algorithm;
        std::uint64_t chunk_bytes;
        /// Not every algorithm takes counts: calls with them choose among fewer.
        bool with_counts;
        bool fits_slot;
        Reach reach;
    };
    struct Key {
        Request request;
        std::size_t element_size;
        std::string algorithm;
        std::uint64_t chunk_bytes;
        bool with_counts;
        bool fits_slot;
        Reach reach;
        [[nodiscard]] KeyView view() const {
            return {request, element_size, algorithm, chunk_bytes, with_counts, fits_slot, reach};
        }
    };
    struct MessageKey {
        StepKind kind;
        int peer;
        std::size_t bytes;
        bool operator==(const MessageKey&) const = default;
    };
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(const KeyView& key) const;
        std::size_t operator()(const Key& key) const { return (*this)(key.view()); }
        std::size_t operator()(const MessageKey& key) const;
    };
    struct Equal {
        using is_transparent = void;
        bool operator()(const KeyView& a, const KeyView& b) const;
        bool operator()(const Key& a, const Key& b) const { return (*this)(a.view(), b.view()); }
        bool operator()(const KeyView& a, const Key& b) const { return (*this)(a, b.view()); }
        bool operator()(const Key& a, const KeyView& b) const { return (*this)(a.view(), b); }
    };

    [[nodiscard]] std::uint32_t window(std::size_t chunk_bytes) const;
    [[nodiscard]] double cached(const Request& request) const;

    CostModel model_;
    Wishes wishes_;
    std::shared_ptr<const Plan> meeting_;
    std::unordered_map<std::uint64_t, std::shared_ptr<const Plan>> showings_;
    std::unordered_map<Key, std::shared_ptr<const Plan>, Hash, Equal> plans_;
    std::unordered_map<MessageKey, std::shared_ptr<const Plan>, Hash> messages_;
    /// By shared request, whose length is rounded to a power of two.
    std::unordered_map<Key, Choice, Hash, Equal> choices_;
};

}  // namespace pycoll
