// Layer normalisation of one row (Ba et al. 2016, Eq. 4): n = (z - mean) / sqrt(variance + 1e-5), with the biased
// variance. Gain and bias belong to the caller.
#ifndef GATESTACK_LAYER_NORM_H
#define GATESTACK_LAYER_NORM_H

#include "simd.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

// The lanes added pairwise, in one order on every machine with as many lanes.
template <class T> inline T sum_of_lanes(Vector<T> v) {
  for (int half = Lanes<T>::count / 2; half >= 1; half /= 2)
    for (int i = 0; i < half; ++i) v[i] = v[i] + v[i + half];
  return v[0];
}

template <class T> struct Moments {
  T mean, inverse_deviation;
  GATESTACK_INLINE Vector<T> normalise(Vector<T> z) const {
    return (z - broadcast<T>(mean)) * broadcast<T>(inverse_deviation);
  }
};

inline float square_root(float x) { return __builtin_sqrtf(x); }
inline double square_root(double x) { return __builtin_sqrt(x); }

template <class T> inline Moments<T> moments_of(const T *z, int64_t n) {
  Vector<T> sum = {};
  each_vector<T>(n, [&](int64_t u, auto lanes) { sum = sum + lanes.load(z + u); });
  const T mean = sum_of_lanes<T>(sum) / static_cast<T>(n);
  Vector<T> squares = {};
  int64_t u = 0;
  constexpr int count = Lanes<T>::count;
  for (; u + count <= n; u += count) {
    const Vector<T> d = load(z + u) - broadcast<T>(mean);
    squares = fma<T>(d, d, squares);
  }
  T rest = T(0); // lanes beyond the end would add mean²
  for (; u < n; ++u) rest += (z[u] - mean) * (z[u] - mean);
  const T variance = (sum_of_lanes<T>(squares) + rest) / static_cast<T>(n);
  return {mean, T(1) / square_root(variance + static_cast<T>(1e-5))};
}

// dz from dn, the gradient of the normalised row; dz may be dn or z.
//   dz = (dn - mean(dn) - n mean(dn n)) / deviation
template <class T>
inline void moments_backward(const Moments<T> &moments, const T *z, const T *dn, T *dz, int64_t length) {
  Vector<T> sum = {}, product = {};
  each_vector<T>(length, [&](int64_t u, auto lanes) {
    const Vector<T> d = lanes.load(dn + u); // 0 beyond the end, so the lanes there add nothing
    sum = sum + d;
    product = fma<T>(d, moments.normalise(lanes.load(z + u)), product);
  });
  const Vector<T> mean = broadcast<T>(sum_of_lanes<T>(sum) / static_cast<T>(length));
  const Vector<T> slope = broadcast<T>(sum_of_lanes<T>(product) / static_cast<T>(length));
  const Vector<T> inverse = broadcast<T>(moments.inverse_deviation);
  each_vector<T>(length, [&](int64_t u, auto lanes) {
    const Vector<T> n = moments.normalise(lanes.load(z + u));
    lanes.store(dz + u, (lanes.load(dn + u) - mean - n * slope) * inverse);
  });
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
