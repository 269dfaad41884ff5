// The product of product.h with both operands rounded to bfloat16 and sums in float32.
//
// Both come as pairs along k, two bfloat16 in 32 bits, the even k low: rows of A, and B in panels of
// [pairs][panel width]. Where the processor has tiles or multiplies and adds such pairs in one instruction, these do
// it; elsewhere pairs are widened, two float32 products for each. The ways differ in rounding, as tiles and instruction
// add the two products of a pair in their own way and take denormal numbers for zero.
#ifndef GATESTACK_HALF_PRODUCT_H
#define GATESTACK_HALF_PRODUCT_H

#include "tile_product.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

typedef Lanes<uint32_t>::vector PairVector;

inline int64_t pairs_of(int64_t k_count) { return (k_count + 1) / 2; }

// To the nearest bfloat16, ties to even; NaN stays NaN.
inline uint16_t to_bfloat16(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// A row of n floats as pairs; an odd last one goes with 0.
inline void round_row(const float *x, uint32_t *pairs, int64_t n) {
  constexpr int count = Lanes<float>::count;
  typedef uint16_t Rounded __attribute__((vector_size(2 * count), aligned(2), may_alias));
  uint16_t *const to = reinterpret_cast<uint16_t *>(pairs);
  int64_t i = 0;
  for (; i + count <= n; i += count) {
    const PairVector bits = (PairVector)load(x + i);
    const PairVector nearest = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const PairVector kept = (bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16 | 0x40u) : nearest;
    *reinterpret_cast<Rounded *>(to + i) = __builtin_convertvector(kept, Rounded);
  }
  for (; i < n; ++i) to[i] = to_bfloat16(x[i]);
  if (n % 2) to[n] = 0;
}

#if defined(__AVX512F__)
#define GATESTACK_HAS_PAIR_INSTRUCTION 1
#define GATESTACK_PAIR_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,avx2")))
// AMD's processors do two float32 products' work in one; Intel's take twice as long for it as for widening
// (measured: 115 of 243 GFLOP/s), so there the instruction stands idle.
inline bool has_pair_instruction() { return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_is("amd"); }
#else
#define GATESTACK_HAS_PAIR_INSTRUCTION 0
#define GATESTACK_PAIR_TARGET
inline bool has_pair_instruction() { return false; }
#endif

template <bool kInstruction>
GATESTACK_PAIR_TARGET GATESTACK_INLINE Vector<float> add_pairs(Vector<float> sum, uint32_t a, PairVector b) {
#if GATESTACK_HAS_PAIR_INSTRUCTION
  if (kInstruction)
    return (Vector<float>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(a)), (__m512bh)b);
#endif
  const uint32_t low = a << 16, high = a & 0xffff0000u;
  float a_low, a_high;
  __builtin_memcpy(&a_low, &low, sizeof low);
  __builtin_memcpy(&a_high, &high, sizeof high);
  sum = fma<float>(broadcast<float>(a_low), (Vector<float>)(b << 16), sum);
  return fma<float>(broadcast<float>(a_high), (Vector<float>)(b & 0xffff0000u), sum);
}

template <bool kInstruction, int MR, int NV>
GATESTACK_PAIR_TARGET inline void pair_tile(const uint32_t *const *a, const uint32_t *b, int64_t b_stride,
                                            int64_t pairs, const float *init, float *const *c, int64_t column,
                                            int last) {
  constexpr int VL = Lanes<float>::count;
  const uint32_t *row[MR];
  Vector<float> sum[MR][NV];
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
    row[m] = a[m];
    const float *from = init ? init : c[m] + column;
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v)
      sum[m][v] = v == NV - 1 && last < VL ? load_first<float>(from + v * VL, last) : load<float>(from + v * VL);
  }
#pragma GCC unroll 2
  for (int64_t k = 0; k < pairs; ++k) {
    PairVector panel[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) panel[v] = (PairVector)load<float>(reinterpret_cast<const float *>(b) + v * VL);
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) sum[m][v] = add_pairs<kInstruction>(sum[m][v], row[m][k], panel[v]);
    b += b_stride;
  }
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
    float *to = c[m] + column;
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      if (v == NV - 1 && last < VL) store_first<float>(to + v * VL, last, sum[m][v]);
      else store<float>(to + v * VL, sum[m][v]);
    }
  }
}

template <bool kInstruction, int MR>
GATESTACK_PAIR_TARGET inline void pair_columns(const uint32_t *const *a, const uint32_t *b, int64_t b_stride,
                                               int64_t pairs, const float *init, float *const *c, int64_t column,
                                               int64_t columns) {
  constexpr int VL = Lanes<float>::count;
  const int vectors = static_cast<int>((columns + VL - 1) / VL), last = static_cast<int>(columns - (vectors - 1) * VL);
  switch (vectors) {
  case 1: return pair_tile<kInstruction, MR, 1>(a, b, b_stride, pairs, init, c, column, last);
  case 2: return pair_tile<kInstruction, MR, 2>(a, b, b_stride, pairs, init, c, column, last);
#if defined(__AVX512F__) || defined(__aarch64__)
  case 3: return pair_tile<kInstruction, MR, 3>(a, b, b_stride, pairs, init, c, column, last);
  case 4: return pair_tile<kInstruction, MR, 4>(a, b, b_stride, pairs, init, c, column, last);
#endif
  }
}

template <bool kInstruction>
GATESTACK_PAIR_TARGET inline void pair_product(const uint32_t *const *a, int64_t k_count, const uint32_t *packed,
                                               int64_t columns, const float *init, bool same_init, float *const *c,
                                               int64_t rows) {
  for (int64_t column = 0; column < columns; column += panel_width<float>()) {
    const int64_t left = columns - column, width = left < panel_width<float>() ? left : panel_width<float>();
    const int64_t stride = padded_columns<float>(width), pairs = pairs_of(k_count);
    const float *const from = init && !same_init ? init + column : init;
    const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
    for (int64_t tile = 0, row = 0; tile < tiles; ++tile) {
      const int64_t height = (rows - row) / (tiles - tile);
      with_height(height, [&](auto rows_in_tile) {
        constexpr int kRows = decltype(rows_in_tile)::value;
        pair_columns<kInstruction, kRows>(a + row, packed, stride, pairs, from, c + row, column, width);
      });
      row += height;
    }
    packed += stride * pairs;
  }
}

constexpr int64_t kRowsInRoom = 16 * kTileRows;
inline int64_t room_for(int64_t k_count) { return kRowsInRoom * pairs_of(k_count); }

inline bool has_fast_bfloat16() {
#if GATESTACK_HAS_TILES
  if (has_tiles()) return true;
#endif
  return has_pair_instruction();
}

// C = init + A B or C += A B, as PackedMatrix::multiply says. `room` takes rounded rows of A, kRowsInRoom at a time.
inline void half_product(const float *const *a, int64_t k_count, const uint32_t *packed, int64_t columns,
                         const float *init, bool same_init, float *const *c, int64_t rows, uint32_t *room) {
  const uint32_t *pairs[kRowsInRoom];
  for (int64_t first = 0; first < rows; first += kRowsInRoom) {
    const int64_t count = rows - first < kRowsInRoom ? rows - first : kRowsInRoom;
    for (int64_t i = 0; i < count; ++i) {
      uint32_t *const row = room + i * pairs_of(k_count);
      round_row(a[first + i], row, k_count);
      pairs[i] = row;
    }
#if GATESTACK_HAS_TILES
    if (has_tiles()) {
      tile_product(room, pairs_of(k_count), pairs_of(k_count), packed, columns, init, same_init, c + first, count);
      continue;
    }
#endif
    if (has_pair_instruction()) pair_product<true>(pairs, k_count, packed, columns, init, same_init, c + first, count);
    else pair_product<false>(pairs, k_count, packed, columns, init, same_init, c + first, count);
  }
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
