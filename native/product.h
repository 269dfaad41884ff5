// The one matrix product of the kernels: C += A B for a few rows of C at a time, C = init + A B where `init`
// is given. Every accumulator runs over k in one order, so a row's result does not depend on the rows beside
// it, on the number of threads, or on how the work was cut.
//
// A is read in two ways: as rows (a pointer per row of C, k along the row: states times weights) and as
// columns (a pointer per k, the row of C along it: the sum over steps in the gradients of weights). B is read as
// panels of kPanel columns, [k][panel width], packed for weights, or as plain rows with a stride.
#ifndef GATESTACK_PRODUCT_H
#define GATESTACK_PRODUCT_H

#include "simd.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

// A tile of C is kTileRows × kTileVectors vectors, held in registers with one vector per column of the tile for B
// and one for A: 6·4 + 4 + 1 of 32 registers, or 6·2 + 2 + 1 of 16. At least 2 FMA units · 4 cycles of latency
// = 8 accumulators keep the machine busy.
constexpr int kTileRows = 6;
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kTileVectors = 4;
#else
constexpr int kTileVectors = 2;
#endif

template <class T> constexpr int64_t panel_width() { return kTileVectors * Lanes<T>::count; }

// The columns of the last panel are padded to whole vectors.
template <class T> constexpr int64_t padded_columns(int64_t n) {
  return (n + Lanes<T>::count - 1) / Lanes<T>::count * Lanes<T>::count;
}

template <class T, int MR> struct RowsOfA {
  static constexpr bool kByRow = true;
  const T *row[MR];
  GATESTACK_INLINE RowsOfA(const T *const *rows, int64_t) {
    for (int m = 0; m < MR; ++m) row[m] = rows[m];
  }
  GATESTACK_INLINE const T *at_step(int64_t) const { return nullptr; }
  GATESTACK_INLINE T at(const T *, int m, int64_t k) const { return row[m][k]; }
};

template <class T, int MR> struct ColumnsOfA {
  static constexpr bool kByRow = false;
  const T *const *step;
  int64_t first;
  GATESTACK_INLINE ColumnsOfA(const T *const *steps, int64_t column) : step(steps), first(column) {}
  GATESTACK_INLINE const T *at_step(int64_t k) const { return step[k] + first; }
  GATESTACK_INLINE T at(const T *a, int m, int64_t) const { return a[m]; }
};

// One tile: MR rows, NV vectors of columns, all of k. The last vector keeps only `last` columns in memory.
template <class T, int MR, int NV, template <class, int> class Operand>
inline void product_tile(const T *const *a_rows, int64_t a_first, const T *b, int64_t b_stride, int64_t k_count,
                         const T *init, T *const *c, int64_t column, int last) {
  constexpr int VL = Lanes<T>::count;
  const Operand<T, MR> a(a_rows, a_first);
  Vector<T> sum[MR][NV];
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
    const T *from = init ? init : c[m] + column;
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v)
      sum[m][v] = v == NV - 1 && last < VL ? load_first<T>(from + v * VL, last) : load<T>(from + v * VL);
  }
#pragma GCC unroll 2
  for (int64_t k = 0; k < k_count; ++k) {
    Vector<T> panel[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) panel[v] = load<T>(b + v * VL);
    const T *step = a.at_step(k);
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const Vector<T> factor = broadcast<T>(a.at(step, m, k));
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) sum[m][v] = fma<T>(factor, panel[v], sum[m][v]);
    }
    b += b_stride;
  }
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
    T *to = c[m] + column;
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      if (v == NV - 1 && last < VL) store_first<T>(to + v * VL, last, sum[m][v]);
      else store<T>(to + v * VL, sum[m][v]);
    }
  }
}

template <class T, int MR, template <class, int> class Operand>
inline void product_columns(const T *const *a, int64_t a_first, const T *b, int64_t b_stride, int64_t k_count,
                            const T *init, T *const *c, int64_t column, int64_t columns) {
  constexpr int VL = Lanes<T>::count;
  const int vectors = static_cast<int>((columns + VL - 1) / VL);
  const int last = static_cast<int>(columns - (vectors - 1) * VL);
  switch (vectors) {
  case 1: return product_tile<T, MR, 1, Operand>(a, a_first, b, b_stride, k_count, init, c, column, last);
  case 2: return product_tile<T, MR, 2, Operand>(a, a_first, b, b_stride, k_count, init, c, column, last);
#if defined(__AVX512F__) || defined(__aarch64__)
  case 3: return product_tile<T, MR, 3, Operand>(a, a_first, b, b_stride, k_count, init, c, column, last);
  case 4: return product_tile<T, MR, 4, Operand>(a, a_first, b, b_stride, k_count, init, c, column, last);
#endif
  }
}

// Calls body with the height of a tile as a constant of the compiler's.
template <int n> struct Height { static constexpr int value = n; };
template <class Body> GATESTACK_INLINE void with_height(int64_t height, Body body) {
  static_assert(kTileRows == 6, "one case for each height");
  switch (height) {
  case 1: return body(Height<1>());
  case 2: return body(Height<2>());
  case 3: return body(Height<3>());
  case 4: return body(Height<4>());
  case 5: return body(Height<5>());
  default: return body(Height<6>());
  }
}

// Up to kPanel columns of C from `column` on, for rows of C in tiles of nearly equal height. For columns of A,
// a_first is the column of A that belongs to c[0].
template <class T, template <class, int> class Operand>
inline void product_panel(const T *const *a, int64_t a_first, const T *b, int64_t b_stride, int64_t k_count,
                          const T *init, T *const *c, int64_t rows, int64_t column, int64_t columns) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  for (int64_t tile = 0, row = 0; tile < tiles; ++tile) {
    const int64_t height = (rows - row) / (tiles - tile);
    const T *const *rows_of_a = a;
    int64_t first = a_first;
    if (Operand<T, 1>::kByRow) rows_of_a += row;
    else first += row;
    const auto tile_of = [&](auto rows_in_tile) {
      constexpr int kRows = decltype(rows_in_tile)::value;
      product_columns<T, kRows, Operand>(rows_of_a, first, b, b_stride, k_count, init, c + row, column, columns);
    };
    with_height(height, tile_of);
    row += height;
  }
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
