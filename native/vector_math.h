// sigmoid and tanh of vectors, within 2 ulp of the true value for every float32 (denormal results included),
// and for every float64 tried. NaN stays NaN.
//
// Both stand on expm1(r) = r + r² P(r) for |r| ≤ ln(2)/2 after x = n ln(2) + r. P for float32 is a minimax
// polynomial (Remez exchange, relative error of expm1 2.4e-10), for float64 the Taylor series (1.2e-17).
#ifndef GATESTACK_VECTOR_MATH_H
#define GATESTACK_VECTOR_MATH_H

#include "simd.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

template <class T> struct ExpConstants;

template <> struct ExpConstants<float> {
  static constexpr float log2_e = 1.44269504088896341f;
  static constexpr float ln2_high = 0.693138122558593750f;    // 15 bits: a multiple of it by n is exact
  static constexpr float ln2_low = 9.05800061445916537e-6f;   // ln(2) - ln2_high
  static constexpr float round = 12582912.0f;                 // 1.5 · 2^23: adding it rounds to a whole number
  static constexpr int mantissa_bits = 23;
  static constexpr int bias = 127;
  static constexpr float lowest = -104.0f;                    // exp of it is 0
  static constexpr float saturated = 10.0f;                   // tanh of it is 1
  static constexpr int degree = 5;
  static constexpr float p[6] = {5.0000000442683189747e-01f, 1.6666666369756074533e-01f,
                                 4.1666360428533100755e-02f, 8.3333894585779249344e-03f,
                                 1.3940668462632964398e-03f, 1.9845881268855605974e-04f};
};

template <> struct ExpConstants<double> {
  static constexpr double log2_e = 1.44269504088896340736;
  static constexpr double ln2_high = 6.93147180369123816490e-01; // 32 bits
  static constexpr double ln2_low = 1.90821492927058770002e-10;
  static constexpr double round = 6755399441055744.0; // 1.5 · 2^52
  static constexpr int mantissa_bits = 52;
  static constexpr int bias = 1023;
  static constexpr double lowest = -746.0;
  static constexpr double saturated = 20.0;
  static constexpr int degree = 11;
  static constexpr double p[12] = {1.0 / 2,       1.0 / 6,        1.0 / 24,        1.0 / 120,
                                   1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
                                   1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
};

template <class T> GATESTACK_INLINE IntegerVector<T> sign_bits() {
  typedef typename Integer<T>::type Int;
  const IntegerVector<T> zero = {};
  return zero + static_cast<Int>(Int(1) << (8 * sizeof(T) - 1));
}
template <class T> GATESTACK_INLINE Vector<T> absolute(Vector<T> x) {
  return (Vector<T>)((IntegerVector<T>)x & ~sign_bits<T>());
}
template <class T> GATESTACK_INLINE Vector<T> minus_absolute(Vector<T> x) {
  return (Vector<T>)((IntegerVector<T>)x | sign_bits<T>());
}
template <class T> GATESTACK_INLINE Vector<T> with_sign_of(Vector<T> positive, Vector<T> x) {
  return (Vector<T>)((IntegerVector<T>)positive | ((IntegerVector<T>)x & sign_bits<T>()));
}

// NaN stays NaN in these two, which std::max and std::min do not promise.
template <class T> GATESTACK_INLINE Vector<T> at_least(Vector<T> low, Vector<T> x) { return x < low ? low : x; }
template <class T> GATESTACK_INLINE Vector<T> at_most(Vector<T> high, Vector<T> x) { return x > high ? high : x; }
#if defined(__AVX512F__) // the instruction returns its second operand where one is NaN
template <> GATESTACK_INLINE Vector<float> at_least<float>(Vector<float> low, Vector<float> x) {
  return _mm512_maskz_max_ps(static_cast<__mmask16>(-1), low, x);
}
template <> GATESTACK_INLINE Vector<float> at_most<float>(Vector<float> high, Vector<float> x) {
  return _mm512_maskz_min_ps(static_cast<__mmask16>(-1), high, x);
}
#elif defined(__AVX2__)
template <> GATESTACK_INLINE Vector<float> at_least<float>(Vector<float> low, Vector<float> x) {
  return _mm256_max_ps(low, x);
}
template <> GATESTACK_INLINE Vector<float> at_most<float>(Vector<float> high, Vector<float> x) {
  return _mm256_min_ps(high, x);
}
#endif

// 2^n for whole n in the range of normal numbers; n comes with ExpConstants::round added.
template <class T> GATESTACK_INLINE Vector<T> power_of_two(Vector<T> rounded) {
  using C = ExpConstants<T>;
  const Vector<T> round = broadcast<T>(C::round);
  const IntegerVector<T> n = (IntegerVector<T>)rounded - (IntegerVector<T>)round;
  return (Vector<T>)((n + static_cast<typename Integer<T>::type>(C::bias)) << C::mantissa_bits);
}

// value · 2^n for n ≤ 0, rounded to a denormal number where it is below the smallest normal one. `n` is
// `rounded` - round.
template <class T> GATESTACK_INLINE Vector<T> scale_down(Vector<T> value, Vector<T> n) {
  // Twice half of n, because 2^n alone may be below the smallest normal number.
  const Vector<T> round = broadcast<T>(ExpConstants<T>::round);
  const Vector<T> half = fma<T>(n, broadcast<T>(T(0.5)), round);
  const Vector<T> rest = (n - (half - round)) + round;
  return value * power_of_two<T>(half) * power_of_two<T>(rest);
}
#if defined(__AVX512F__)
template <> GATESTACK_INLINE Vector<float> scale_down<float>(Vector<float> value, Vector<float> n) {
  return _mm512_maskz_scalef_ps(static_cast<__mmask16>(-1), value, n);
}
template <> GATESTACK_INLINE Vector<double> scale_down<double>(Vector<double> value, Vector<double> n) {
  return _mm512_maskz_scalef_pd(static_cast<__mmask8>(-1), value, n);
}
#endif

// The functions from here on take several vectors at once; these are the steps they are made of.
template <class T, int N, class B, class C>
GATESTACK_INLINE Several<T, N> fma(const Several<T, N> &a, const B &b, const C &c) {
  return in_step<T, N>([&](int i) { return fma<T>(a.v[i], part(b, i), part(c, i)); });
}

// 1 / b to at least 27 bits for b in [1, 1e9]. AVX-512 divides 16 floats in 16 cycles; an estimate and one Newton step
// take 2.
template <class T> GATESTACK_INLINE Vector<T> inverse_of(Vector<T> b) { return broadcast<T>(T(1)) / b; }
#if defined(__AVX512F__)
template <> GATESTACK_INLINE Vector<float> inverse_of<float>(Vector<float> b) {
  const Vector<float> estimate = _mm512_maskz_rcp14_ps(static_cast<__mmask16>(-1), b);
  return fma<float>(fma<float>(-b, estimate, broadcast<float>(1.0f)), estimate, estimate);
}
#endif

template <class T> GATESTACK_INLINE Vector<T> choose_by_sign(Vector<T> x, Vector<T> negative, Vector<T> other) {
  const Vector<T> zero = {};
  return x < zero ? negative : other;
}

#define GATESTACK_FOR_SEVERAL(name, parameters, call)                                                                  \
  template <class T, int N> GATESTACK_INLINE Several<T, N> name parameters {                                           \
    return in_step<T, N>([&](int i) { return call; });                                                                 \
  }
GATESTACK_FOR_SEVERAL(absolute, (const Several<T, N> &x), absolute<T>(x.v[i]))
GATESTACK_FOR_SEVERAL(minus_absolute, (const Several<T, N> &x), minus_absolute<T>(x.v[i]))
GATESTACK_FOR_SEVERAL(with_sign_of, (const Several<T, N> &y, const Several<T, N> &x), with_sign_of<T>(y.v[i], x.v[i]))
GATESTACK_FOR_SEVERAL(at_least, (Vector<T> low, const Several<T, N> &x), at_least<T>(low, x.v[i]))
GATESTACK_FOR_SEVERAL(at_most, (Vector<T> high, const Several<T, N> &x), at_most<T>(high, x.v[i]))
GATESTACK_FOR_SEVERAL(power_of_two, (const Several<T, N> &rounded), power_of_two<T>(rounded.v[i]))
GATESTACK_FOR_SEVERAL(scale_down, (const Several<T, N> &value, const Several<T, N> &n),
                      scale_down<T>(value.v[i], n.v[i]))
GATESTACK_FOR_SEVERAL(inverse_of, (const Several<T, N> &b), inverse_of<T>(b.v[i]))
GATESTACK_FOR_SEVERAL(choose_by_sign, (const Several<T, N> &x, const Several<T, N> &negative, Vector<T> other),
                      choose_by_sign<T>(x.v[i], negative.v[i], other))
#undef GATESTACK_FOR_SEVERAL

// expm1(r) for |r| ≤ ln(2)/2.
template <class T, class V> GATESTACK_INLINE V small_expm1(const V &r) {
  using C = ExpConstants<T>;
  V p = fma(r, broadcast<T>(C::p[C::degree]), broadcast<T>(C::p[C::degree - 1]));
#pragma GCC unroll 12
  for (int i = C::degree - 2; i >= 0; --i) p = fma(p, r, broadcast<T>(C::p[i]));
  return fma(r * r, p, r);
}

// x - n ln(2).
template <class T, class V> GATESTACK_INLINE V reduced(const V &x, const V &n) {
  using C = ExpConstants<T>;
  return fma(n, broadcast<T>(-C::ln2_low), fma(n, broadcast<T>(-C::ln2_high), x));
}

// a / (b + b_low) for b in [1, 1e9], where b_low is what b lost when it was rounded.
template <class T, class V, class A> GATESTACK_INLINE V divide(const A &a, const V &b, const V &b_low) {
#if defined(__FMA__) || defined(__aarch64__)
  const V inverse = inverse_of(b);
  const V quotient = inverse * a;
  const V remainder = fma(-b_low, quotient, fma(-b, quotient, a));
  return fma(remainder, inverse, quotient);
#else // without fused products there is no exact remainder
  const V quotient = a / b;
  return quotient - quotient * b_low / b;
#endif
}

// exp(x) for x ≤ 0; results below the smallest normal number are rounded to denormal ones.
template <class T, class V> GATESTACK_INLINE V exp_of_negative(const V &x) {
  using C = ExpConstants<T>;
  const Vector<T> round = broadcast<T>(C::round);
  const V bounded = at_least(broadcast<T>(C::lowest), x);
  const V n = fma(bounded, broadcast<T>(C::log2_e), round) - round;
  return scale_down(small_expm1<T>(reduced<T>(bounded, n)) + broadcast<T>(T(1)), n);
}

// 1 / (1 + exp(-x)), written so that nothing overflows: for x < 0 it is e / (1 + e) with e = exp(x).
template <class T, class V> GATESTACK_INLINE V sigmoid(const V &x) {
  const Vector<T> one = broadcast<T>(T(1));
  const V e = exp_of_negative<T>(minus_absolute(x));
  const V sum = e + one;
  return divide<T>(choose_by_sign(x, e, one), sum, e - (sum - one));
}

// expm1(2|x|) / (expm1(2|x|) + 2) with the sign of x: relatively accurate near 0, where exp would cancel.
template <class T, class V> GATESTACK_INLINE V tanh(const V &x) {
  using C = ExpConstants<T>;
  const Vector<T> round = broadcast<T>(C::round), one = broadcast<T>(T(1)), two = broadcast<T>(T(2));
  const V half = at_most(broadcast<T>(C::saturated), absolute(x));
  const V a = half + half;
  const V rounded = fma(a, broadcast<T>(C::log2_e), round);
  const V scale = power_of_two(rounded);
  const V e = fma(scale, small_expm1<T>(reduced<T>(a, rounded - round)), scale - one);
  const V sum = e + two;
  return with_sign_of(divide<T>(e, sum, e - (sum - two)), x); // the quotient is 0 or more, or NaN
}

// function(x[u]) into y for a row, four vectors in step; y may be x.
template <class T, class Function> GATESTACK_INLINE void map_row(const T *x, T *y, int64_t n, Function function) {
  constexpr int count = Lanes<T>::count, kInStep = 4;
  int64_t u = 0;
  for (; u + kInStep * count <= n; u += kInStep * count) {
    const Several<T, kInStep> value = function(in_step<T, kInStep>([&](int i) { return load(x + u + i * count); }));
    for (int i = 0; i < kInStep; ++i) store(y + u + i * count, value.v[i]);
  }
  each_vector<T>(n - u, [&](int64_t rest, auto lanes) {
    lanes.store(y + u + rest, function(Several<T, 1>{{lanes.load(x + u + rest)}}).v[0]);
  });
}

// function(a[u], b[u]) into y, likewise.
template <class T, class Function>
GATESTACK_INLINE void map_row_with(const T *a, const T *b, T *y, int64_t n, Function function) {
  constexpr int count = Lanes<T>::count, kInStep = 4;
  int64_t u = 0;
  for (; u + kInStep * count <= n; u += kInStep * count) {
    const auto several = [&](const T *x) {
      return in_step<T, kInStep>([&](int i) { return load(x + u + i * count); });
    };
    const Several<T, kInStep> value = function(several(a), several(b));
    for (int i = 0; i < kInStep; ++i) store(y + u + i * count, value.v[i]);
  }
  each_vector<T>(n - u, [&](int64_t rest, auto lanes) {
    const Several<T, 1> a_last = {{lanes.load(a + u + rest)}}, b_last = {{lanes.load(b + u + rest)}};
    lanes.store(y + u + rest, function(a_last, b_last).v[0]);
  });
}

template <class T> inline void sigmoid_row(const T *x, T *y, int64_t n) {
  map_row<T>(x, y, n, [](const auto &value) { return sigmoid<T>(value); });
}
template <class T> inline void tanh_row(const T *x, T *y, int64_t n) {
  map_row<T>(x, y, n, [](const auto &value) { return tanh<T>(value); });
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
