// A matrix of weights in the layout that products read: panels of columns, [k][panel width] each, the columns of the
// last padded to whole vectors. Float, double, or, for products in bfloat16, pairs along k (half_product.h).
#ifndef GATESTACK_PACKED_MATRIX_H
#define GATESTACK_PACKED_MATRIX_H

#include "half_product.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

template <class T> struct PackedMatrix {
  T *data;
  int64_t k_count, columns;
  bool half; // pairs of bfloat16; T is float

  // In elements of T: a pair takes the room of one float.
  int64_t size() const { return height() * padded_columns<T>(columns); }

  // C = init + A B or, init being NULL, C += A B for `rows` rows. init has a value per column; with same_init it is
  // one panel, of zeros, that serves every panel. `room` is scratch where the matrix is half: room_for(k_count).
  void multiply(const T *const *a, const T *init, bool same_init, T *const *c, int64_t rows, uint32_t *room) const {
    if constexpr (sizeof(T) == sizeof(float))
      if (half)
        return half_product(a, k_count, reinterpret_cast<const uint32_t *>(data), columns, init, same_init, c, rows,
                            room);
    const T *panel = data;
    for (int64_t column = 0; column < columns; column += panel_width<T>()) {
      const int64_t width = width_at(column), stride = padded_columns<T>(width);
      const T *const start = init && !same_init ? init + column : init;
      product_panel<T, RowsOfA>(a, 0, panel, stride, k_count, start, c, rows, column, width);
      panel += stride * k_count;
    }
  }

  // Wᵀ for W [columns][k_count], row n of W becoming column (n + shift) mod columns.
  void pack_transposed(const T *weight, int64_t shift) const {
    clear_padding();
    constexpr int64_t kBlock = 16; // a block of rows of W at a time, so that the lines written stay in the cache
    for (int64_t n0 = 0; n0 < columns; n0 += kBlock)
      for (int64_t k0 = 0; k0 < k_count; k0 += kBlock)
        for (int64_t n = n0; n < n0 + kBlock && n < columns; ++n) {
          const Column to(*this, n + shift < columns ? n + shift : n + shift - columns);
          for (int64_t k = k0; k < k0 + kBlock && k < k_count; ++k) to.set(k, weight[n * k_count + k]);
        }
  }

  // W [k_count][columns] as it stands, row k of W becoming row (k + shift) mod k_count.
  void pack_straight(const T *weight, int64_t shift) const {
    clear_padding();
    for (int64_t n = 0; n < columns; n += panel_width<T>())
      for (int64_t k = 0; k < k_count; ++k) {
        const int64_t moved = k + shift < k_count ? k + shift : k + shift - k_count, width = width_at(n);
        const T *const from = weight + k * columns + n;
        const Column first(*this, n);
        if (!half) copy_row(first.row(moved), from, width);
        for (int64_t i = 0; half && i < width; ++i) Column(*this, n + i).set(moved, from[i]);
      }
  }

private:
  int64_t height() const { return half ? pairs_of(k_count) : k_count; }
  int64_t width_at(int64_t n) const {
    const int64_t left = columns - n;
    return left < panel_width<T>() ? left : panel_width<T>();
  }

  struct Column {
    T *first;
    int64_t stride;
    bool half;
    Column(const PackedMatrix &matrix, int64_t n) : half(matrix.half) {
      const int64_t begin = n / panel_width<T>() * panel_width<T>();
      stride = padded_columns<T>(matrix.width_at(begin));
      first = matrix.data + begin * matrix.height() + (n - begin);
    }
    T *row(int64_t k) const { return first + k * stride; }
    void set(int64_t k, T value) const {
      if (half) reinterpret_cast<uint16_t *>(row(k / 2))[k % 2] = to_bfloat16(static_cast<float>(value));
      else *row(k) = value;
    }
  };

  void clear_padding() const {
    if (columns % Lanes<T>::count || (half && k_count % 2)) fill_row(data, T(0), size());
  }
};

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
