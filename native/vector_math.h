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

// expm1(r) for |r| ≤ ln(2)/2.
template <class T> GATESTACK_INLINE Vector<T> small_expm1(Vector<T> r) {
  using C = ExpConstants<T>;
  Vector<T> p = broadcast<T>(C::p[C::degree]);
  for (int i = C::degree - 1; i >= 0; --i) p = fma<T>(p, r, broadcast<T>(C::p[i]));
  return fma<T>(r * r, p, r);
}

// a / (b + b_low) for b in [1, 1e9], where b_low is what b lost when it was rounded. AVX-512 divides 16 floats in
// 16 cycles; an estimate of 1/b with one Newton step and a correction by the remainder take 4.
template <class T> GATESTACK_INLINE Vector<T> divide(Vector<T> a, Vector<T> b, Vector<T> b_low) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  const Vector<T> inverse = broadcast<T>(T(1)) / b;
  const Vector<T> quotient = a * inverse;
  const Vector<T> remainder = fma<T>(-b_low, quotient, fma<T>(-b, quotient, a));
  return fma<T>(remainder, inverse, quotient);
#else // without fused products there is no exact remainder
  const Vector<T> quotient = a / b;
  return quotient - quotient * b_low / b;
#endif
}
#if defined(__AVX512F__)
template <> GATESTACK_INLINE Vector<float> divide<float>(Vector<float> a, Vector<float> b, Vector<float> b_low) {
  const Vector<float> one = broadcast<float>(1.0f);
  Vector<float> inverse = _mm512_maskz_rcp14_ps(static_cast<__mmask16>(-1), b);
  inverse = fma<float>(fma<float>(-b, inverse, one), inverse, inverse);
  const Vector<float> quotient = a * inverse;
  const Vector<float> remainder = fma<float>(-b_low, quotient, fma<float>(-b, quotient, a));
  return fma<float>(remainder, inverse, quotient);
}
#endif

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

// exp(x) for x ≤ 0; results below the smallest normal number are rounded to denormal ones.
template <class T> GATESTACK_INLINE Vector<T> exp_of_negative(Vector<T> x) {
  using C = ExpConstants<T>;
  const Vector<T> round = broadcast<T>(C::round);
  x = at_least<T>(broadcast<T>(C::lowest), x);
  const Vector<T> n = fma<T>(x, broadcast<T>(C::log2_e), round) - round;
  Vector<T> r = fma<T>(n, broadcast<T>(-C::ln2_high), x);
  r = fma<T>(n, broadcast<T>(-C::ln2_low), r);
  return scale_down<T>(small_expm1<T>(r) + broadcast<T>(T(1)), n);
}

// 1 / (1 + exp(-x)), written so that nothing overflows: for x < 0 it is e / (1 + e) with e = exp(x).
template <class T> GATESTACK_INLINE Vector<T> sigmoid(Vector<T> x) {
  const Vector<T> zero = {}, one = broadcast<T>(T(1));
  const Vector<T> e = exp_of_negative<T>(minus_absolute<T>(x));
  const Vector<T> sum = one + e;
  return divide<T>(x < zero ? e : one, sum, e - (sum - one));
}

// expm1(2|x|) / (expm1(2|x|) + 2) with the sign of x: relatively accurate near 0, where exp would cancel.
template <class T> GATESTACK_INLINE Vector<T> tanh(Vector<T> x) {
  using C = ExpConstants<T>;
  const Vector<T> limit = broadcast<T>(C::saturated), round = broadcast<T>(C::round);
  const Vector<T> one = broadcast<T>(T(1)), two = broadcast<T>(T(2));
  Vector<T> a = at_most<T>(limit, absolute<T>(x));
  a = a + a;
  const Vector<T> rounded = fma<T>(a, broadcast<T>(C::log2_e), round);
  const Vector<T> n = rounded - round;
  Vector<T> r = fma<T>(n, broadcast<T>(-C::ln2_high), a);
  r = fma<T>(n, broadcast<T>(-C::ln2_low), r);
  const Vector<T> scale = power_of_two<T>(rounded);
  const Vector<T> e = fma<T>(scale, small_expm1<T>(r), scale - one);
  const Vector<T> sum = e + two;
  const Vector<T> y = divide<T>(e, sum, e - (sum - two));
  return with_sign_of<T>(y, x); // y is 0 or more, or NaN
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
