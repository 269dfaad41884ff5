// Layer normalisation of the two products of a cell (Ba et al. 2016): from the raw rows W x and U h the row of sums
// that the plain cell starts from, and back. Both products have G blocks of H columns and are normalised over all of
// them together.
#ifndef GATESTACK_NORMALISED_PRODUCTS_H
#define GATESTACK_NORMALISED_PRODUCTS_H

#include "layer_norm.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

// Where the blocks of a product stand: block b of its raw row has the parameters of block `parameters(b)` (torch's
// order) and goes to block `sum(b)` of the plain cell's row. They differ for the GRU only, whose rows are
// W x = n r z, U h = r z n and, for the plain cell, n r z q.
struct ProductBlocks {
  int count;
  bool gru, hidden;
  int parameters(int b) const { return gru && !hidden ? (b + 2) % 3 : b; }
  int sum(int b) const { return gru && hidden ? b + 1 : b; }
};

// Adds n(raw) · gain + bias to the row of sums; `first` overwrites the blocks it reaches.
template <class T>
inline void add_normalised(const ProductBlocks &blocks, int64_t H, const T *raw, const T *gain, const T *bias,
                           bool first, T *sums) {
  const Moments<T> moments = moments_of(raw, blocks.count * H);
  for (int b = 0; b < blocks.count; ++b) {
    const T *const z = raw + b * H, *const gain_row = gain + blocks.parameters(b) * H;
    const T *const bias_row = bias ? bias + blocks.parameters(b) * H : nullptr;
    T *const to = sums + blocks.sum(b) * H;
    const bool set = first || (blocks.gru && b == blocks.count - 1); // q has only the hidden product
    each_vector<T>(H, [&](int64_t u, auto lanes) {
      Vector<T> value = moments.normalise(lanes.load(z + u)) * lanes.load(gain_row + u);
      if (bias_row) value = value + lanes.load(bias_row + u);
      lanes.store(to + u, set ? value : lanes.load(to + u) + value);
    });
  }
}

// From the gradients of the sums: those of gain and bias (added to), and of the raw row. d_raw may be raw; `row` is
// scratch, G · H.
template <class T>
inline void normalised_backward(const ProductBlocks &blocks, int64_t H, const T *raw, const T *gain, const T *d_sums,
                                T *d_gain, T *d_bias, T *row, T *d_raw) {
  const Moments<T> moments = moments_of(raw, blocks.count * H);
  for (int b = 0; b < blocks.count; ++b) {
    const T *const z = raw + b * H, *const d = d_sums + blocks.sum(b) * H;
    const T *const gain_row = gain + blocks.parameters(b) * H;
    T *const d_gain_row = d_gain + blocks.parameters(b) * H, *const d_bias_row = d_bias + blocks.parameters(b) * H;
    T *const d_normal = row + b * H;
    each_vector<T>(H, [&](int64_t u, auto lanes) {
      const Vector<T> d_sum = lanes.load(d + u);
      lanes.store(d_gain_row + u, fma<T>(d_sum, moments.normalise(lanes.load(z + u)), lanes.load(d_gain_row + u)));
      lanes.store(d_bias_row + u, lanes.load(d_bias_row + u) + d_sum);
      lanes.store(d_normal + u, d_sum * lanes.load(gain_row + u));
    });
  }
  moments_backward(moments, raw, row, d_raw, blocks.count * H);
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
