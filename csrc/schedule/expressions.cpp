#include "schedule/expressions.hpp"

#include <bit>

namespace pycoll {

Expressions::Expressions(int ranks)
    : ranks_(ranks), words_((static_cast<std::size_t>(ranks) + 63) / 64) {
    const auto count = static_cast<std::size_t>(ranks);
    contributors_.resize((count + 1) * words_);
    finished_.resize(count + 1);
    for (std::size_t r = 0; r < count; ++r) {
        contributors_[(r + 1) * words_ + r / 64] = std::uint64_t{1} << (r % 64);
    }
}

Expressions::Id Expressions::fold(std::span<const Id> operands, bool finish) {
    Id folded = operands[0];
    for (std::size_t i = 1; i < operands.size(); ++i) {
        const bool more = i + 1 < operands.size();
        folded =
            join(folded, operands[i], more ? Pair::open : (finish ? Pair::finished : Pair::closed));
    }
    return folded;
}

Expressions::Id Expressions::join(Id left, Id right, Pair pair) {
    const auto next = static_cast<Id>(finished_.size());
    const auto [entry, is_new] = joined_.try_emplace({left, right, pair}, next);
    if (is_new) {
        finished_.push_back(pair == Pair::finished);
        contributors_.resize(contributors_.size() + words_);
        for (std::size_t w = 0; w < words_; ++w) {
            contributors_[next * words_ + w] =
                contributors_[left * words_ + w] | contributors_[right * words_ + w];
        }
    }
    return entry->second;
}

bool Expressions::complete(Id id) const {
    int there = 0;
    for (const std::uint64_t word : contributors(id)) there += std::popcount(word);
    return there == ranks_;
}

bool Expressions::overlap(Id a, Id b) const {
    const auto left = contributors(a);
    const auto right = contributors(b);
    for (std::size_t w = 0; w < words_; ++w) {
        if ((left[w] & right[w]) != 0) return true;
    }
    return false;
}

}  // namespace pycoll
