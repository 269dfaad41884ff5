// Vectors of the widest kind of the instruction set the engine is compiled for: GCC and Clang's vector
// extensions, and intrinsics for what these cannot say (fused multiply-add, masked loads, broadcasts).
//
// GATESTACK_ENGINE names the instruction set and is a namespace, so that the same templates compiled three
// times do not meet at link time.
#ifndef GATESTACK_SIMD_H
#define GATESTACK_SIMD_H

#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define GATESTACK_INLINE inline __attribute__((always_inline))

namespace gatestack {
namespace GATESTACK_ENGINE {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T> struct Lanes {
  static constexpr int count = kVectorBytes / sizeof(T);
  typedef T vector __attribute__((vector_size(kVectorBytes)));
  typedef T unaligned __attribute__((vector_size(kVectorBytes), aligned(sizeof(T)), may_alias));
};

template <class T> using Vector = typename Lanes<T>::vector;

// The integers as wide as T.
template <class T> struct Integer;
template <> struct Integer<float> { typedef int32_t type; };
template <> struct Integer<double> { typedef int64_t type; };
template <class T> using IntegerVector = Vector<typename Integer<T>::type>;

template <class T> GATESTACK_INLINE Vector<T> load(const T *p) {
  return *reinterpret_cast<const typename Lanes<T>::unaligned *>(p);
}

template <class T> GATESTACK_INLINE void store(T *p, Vector<T> v) {
  *reinterpret_cast<typename Lanes<T>::unaligned *>(p) = v;
}

template <class T> GATESTACK_INLINE Vector<T> broadcast(T x) {
  Vector<T> v;
  for (int i = 0; i < Lanes<T>::count; ++i) v[i] = x;
  return v;
}

// a * b + c, rounded once where the machine can, and in the same way in every function of one engine.
template <class T> GATESTACK_INLINE Vector<T> fma(Vector<T> a, Vector<T> b, Vector<T> c) { return a * b + c; }

// The first n lanes, 0 < n < count; the others are 0 and are not touched in memory.
template <class T> GATESTACK_INLINE Vector<T> load_first(const T *p, int n) {
  Vector<T> v = {};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}

template <class T> GATESTACK_INLINE void store_first(T *p, int n, Vector<T> v) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}

#if defined(__AVX512F__)
template <> GATESTACK_INLINE Vector<float> broadcast(float x) { return _mm512_set1_ps(x); }
template <> GATESTACK_INLINE Vector<double> broadcast(double x) { return _mm512_set1_pd(x); }
template <> GATESTACK_INLINE Vector<float> fma<float>(Vector<float> a, Vector<float> b, Vector<float> c) {
  return _mm512_fmadd_ps(a, b, c);
}
template <> GATESTACK_INLINE Vector<double> fma<double>(Vector<double> a, Vector<double> b, Vector<double> c) {
  return _mm512_fmadd_pd(a, b, c);
}
#if !defined(__SANITIZE_ADDRESS__) // which does not see masked accesses; the loops above are seen
template <> GATESTACK_INLINE Vector<float> load_first(const float *p, int n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}
template <> GATESTACK_INLINE Vector<double> load_first(const double *p, int n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
}
template <> GATESTACK_INLINE void store_first(float *p, int n, Vector<float> v) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
}
template <> GATESTACK_INLINE void store_first(double *p, int n, Vector<double> v) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
}
#endif
#elif defined(__AVX2__)
template <> GATESTACK_INLINE Vector<float> broadcast(float x) { return _mm256_set1_ps(x); }
template <> GATESTACK_INLINE Vector<double> broadcast(double x) { return _mm256_set1_pd(x); }
template <> GATESTACK_INLINE Vector<float> fma<float>(Vector<float> a, Vector<float> b, Vector<float> c) {
  return _mm256_fmadd_ps(a, b, c);
}
template <> GATESTACK_INLINE Vector<double> fma<double>(Vector<double> a, Vector<double> b, Vector<double> c) {
  return _mm256_fmadd_pd(a, b, c);
}
#if !defined(__SANITIZE_ADDRESS__)
GATESTACK_INLINE __m256i first_lanes_32(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
GATESTACK_INLINE __m256i first_lanes_64(int n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
template <> GATESTACK_INLINE Vector<float> load_first(const float *p, int n) {
  return _mm256_maskload_ps(p, first_lanes_32(n));
}
template <> GATESTACK_INLINE Vector<double> load_first(const double *p, int n) {
  return _mm256_maskload_pd(p, first_lanes_64(n));
}
template <> GATESTACK_INLINE void store_first(float *p, int n, Vector<float> v) {
  _mm256_maskstore_ps(p, first_lanes_32(n), v);
}
template <> GATESTACK_INLINE void store_first(double *p, int n, Vector<double> v) {
  _mm256_maskstore_pd(p, first_lanes_64(n), v);
}
#endif
#elif defined(__aarch64__)
template <> GATESTACK_INLINE Vector<float> fma<float>(Vector<float> a, Vector<float> b, Vector<float> c) {
  return (Vector<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
template <> GATESTACK_INLINE Vector<double> fma<double>(Vector<double> a, Vector<double> b, Vector<double> c) {
  return (Vector<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#endif

// Calls body(u, lanes) for u = 0, count, 2 count, … below n. `lanes` loads and stores: whole vectors, and the
// first few lanes where n ends inside one.
template <class T> struct WholeVector {
  GATESTACK_INLINE Vector<T> load(const T *p) const { return gatestack::GATESTACK_ENGINE::load<T>(p); }
  GATESTACK_INLINE void store(T *p, Vector<T> v) const { gatestack::GATESTACK_ENGINE::store<T>(p, v); }
};
template <class T> struct FirstLanes {
  int n;
  GATESTACK_INLINE Vector<T> load(const T *p) const { return load_first<T>(p, n); }
  GATESTACK_INLINE void store(T *p, Vector<T> v) const { store_first<T>(p, n, v); }
};
template <class T, class Body> GATESTACK_INLINE void each_vector(int64_t n, Body body) {
  constexpr int count = Lanes<T>::count;
  int64_t u = 0;
  for (; u + count <= n; u += count) body(u, WholeVector<T>());
  if (u < n) body(u, FirstLanes<T>{static_cast<int>(n - u)});
}

// A few vectors that go through a function in step. The functions of vector_math.h are long chains in which each
// operation waits for the one before; the processor looks ahead about as far as one chain is long, so it is given
// several at once, one operation of each after the other.
template <class T, int N> struct Several {
  Vector<T> v[N];
};

// The i-th vector of an operand: a single vector, such as a constant, serves all.
template <class T, int N> GATESTACK_INLINE Vector<T> part(const Several<T, N> &x, int i) { return x.v[i]; }
template <class V> GATESTACK_INLINE V part(const V &x, int) { return x; }

template <class T, int N, class Function> GATESTACK_INLINE Several<T, N> in_step(Function function) {
  Several<T, N> result;
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) result.v[i] = function(i);
  return result;
}

template <class T, int N, class B> GATESTACK_INLINE Several<T, N> operator+(const Several<T, N> &a, const B &b) {
  return in_step<T, N>([&](int i) { return a.v[i] + part(b, i); });
}
template <class T, int N, class B> GATESTACK_INLINE Several<T, N> operator-(const Several<T, N> &a, const B &b) {
  return in_step<T, N>([&](int i) { return a.v[i] - part(b, i); });
}
template <class T, int N, class B> GATESTACK_INLINE Several<T, N> operator*(const Several<T, N> &a, const B &b) {
  return in_step<T, N>([&](int i) { return a.v[i] * part(b, i); });
}
template <class T, int N, class B> GATESTACK_INLINE Several<T, N> operator/(const Several<T, N> &a, const B &b) {
  return in_step<T, N>([&](int i) { return a.v[i] / part(b, i); });
}
template <class T, int N> GATESTACK_INLINE Several<T, N> operator-(const Several<T, N> &a) {
  return in_step<T, N>([&](int i) { return -a.v[i]; });
}

template <class T> inline void copy_row(T *to, const T *from, int64_t n) {
  each_vector<T>(n, [&](int64_t u, auto lanes) { lanes.store(to + u, lanes.load(from + u)); });
}

template <class T> inline void fill_row(T *to, T value, int64_t n) {
  each_vector<T>(n, [&](int64_t u, auto lanes) { lanes.store(to + u, broadcast<T>(value)); });
}

template <class T> inline void multiply_row(T *to, const T *a, const T *b, int64_t n) {
  each_vector<T>(n, [&](int64_t u, auto lanes) { lanes.store(to + u, lanes.load(a + u) * lanes.load(b + u)); });
}

template <class T> inline void add_row(T *to, const T *a, int64_t n) {
  each_vector<T>(n, [&](int64_t u, auto lanes) { lanes.store(to + u, lanes.load(to + u) + lanes.load(a + u)); });
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
