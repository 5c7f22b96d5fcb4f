// f16 for CPUs without instructions that convert it; to the bit what F16C yields.
//
// Included into the namespace of a variant, after lanes.inl. f16 has 5 bits of exponent (bias 15)
// and 10 of mantissa, f32 8 (bias 127) and 23.

struct Float16 {
    using Lane = float;
    static constexpr std::size_t element = 2;

    static Pair decode(const std::byte* from) {
        const Vector<std::uint32_t> both = load<std::uint32_t>(from);
        return {widened(both & 0xffffU), widened(both >> 16)};
    }

    static Bytes encode(Pair v) { return narrowed(v.first) | (narrowed(v.second) << 16); }

private:
    using Words = Vector<std::uint32_t>;

    static Words bits_of(Vector<float> v) { return reinterpret_cast<Words>(v); }
    static Vector<float> float_of(Words v) { return reinterpret_cast<Vector<float>>(v); }
    /// SSE2 compares signed integers only; what is compared here is never negative.
    static Vector<std::int32_t> in_order(Words v) {
        return reinterpret_cast<Vector<std::int32_t>>(v);
    }

    static constexpr std::uint32_t bias = (127U - 15U) << 23;

    static Vector<float> widened(Words half) {
        const Words sign = (half & 0x8000U) << 16;
        const Words magnitude = (half & 0x7fffU) << 13;
        // The exponent 31 of infinity and NaN has to become 255, which is twice 112 more.
        const auto all_ones = reinterpret_cast<Words>(in_order(magnitude) >= (31 << 23));
        const Words normal = magnitude + bias + (all_ones & bias);
        // 2^-14 * (1 + mantissa) - 2^-14: exact, and both operands are normal numbers of f32.
        const Words smallest = Words{} + (1U << 23) + bias;
        const Words denormal = bits_of(float_of(magnitude + smallest) - float_of(smallest));
        return float_of((in_order(magnitude) < (1 << 23) ? denormal : normal) | sign);
    }

    static Words narrowed(Vector<float> v) {
        const auto nan = reinterpret_cast<Words>(v != v);
        const Words sign = (bits_of(v) >> 16) & 0x8000U & ~nan;
        // 65536 has the exponent of infinity; a NaN becomes it, too, and then gets its mantissa.
        const Vector<float> infinity = Vector<float>{} + 65536.0F;
        const Vector<float> value = float_of(bits_of(v) & 0x7fffffffU);
        const Vector<float> magnitude = value < infinity ? value : infinity;
        // Half a unit in the last place less a bit, and that bit where the last place is odd: ties
        // go to even. A carry runs into the exponent, up to infinity, as it should.
        const Words odd = (bits_of(magnitude) >> 13) & 1U;
        const Words normal = (bits_of(magnitude) - bias + 0xfffU + odd) >> 13;
        // Below 2^-14: added to 0.5, whose last place weighs 2^-24 as that of the denormals of f16
        // does, the value is rounded by the addition.
        const Vector<float> half = Vector<float>{} + 0.5F;
        const Words denormal = bits_of(magnitude + half) - bits_of(half);
        const Words narrow = in_order(bits_of(magnitude)) < (113 << 23) ? denormal : normal;
        return narrow | sign | (nan & 0x0200U);
    }
};
