// The element-wise part of a GRU step, forward and backward, for one row of the batch.
//
// Reset after: the row holds n r z q, H each, with q = U_n h' + b; reset before: n r z. Before forward they are
// the sums of products and biases, afterwards n, r, z the gates, q as it was; backward makes of the row the gradients
// of those sums.
//
//   r = σ r̄   z = σ z̄   n = tanh(n̄ + r q)  or  tanh(n̄ + U_n (r h'))   y = (1 - z) (m n) + z h'
#ifndef GATESTACK_GRU_POINTWISE_H
#define GATESTACK_GRU_POINTWISE_H

#include "vector_math.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

// Reset gate, reset before: r and z in place, and r h' for the product with U_n. `dropped` is h' as it enters the
// products (with the mask of hidden dropout).
template <class T> inline void gru_reset_forward(int64_t H, T *row, const T *dropped, T *reset_hidden) {
  sigmoid_row(row + H, row + H, 2 * H);
  multiply_row(reset_hidden, row + H, dropped, H);
}

// y [H] may be h'. kAfter: r, z still to be squashed and q there; otherwise gru_reset_forward has been.
template <class T, bool kAfter>
inline void gru_forward(int64_t H, T *row, const T *before_row, T *y, const T *candidate_mask) {
  if (kAfter) {
    sigmoid_row(row + H, row + H, 2 * H);
    each_vector<T>(H, [&](int64_t u, auto lanes) {
      lanes.store(row + u, fma<T>(lanes.load(row + H + u), lanes.load(row + 3 * H + u), lanes.load(row + u)));
    });
  }
  tanh_row(row, row, H);
  each_vector<T>(H, [&](int64_t u, auto lanes) {
    Vector<T> candidate = lanes.load(row + u);
    if (candidate_mask) candidate = candidate * lanes.load(candidate_mask + u);
    lanes.store(y + u, fma<T>(lanes.load(row + 2 * H + u), lanes.load(before_row + u) - candidate, candidate));
  });
}

// From dy [H]: gradients of n̄, z̄ and, reset after, r̄ and q, into d_row (may be row); z dy into d_before [H].
template <class T, bool kAfter>
inline void gru_backward(int64_t H, const T *row, const T *before_row, const T *dy_row, T *d_before, T *d_row,
                         const T *candidate_mask) {
  const Vector<T> one = broadcast<T>(T(1));
  each_vector<T>(H, [&](int64_t u, auto lanes) {
    const Vector<T> n = lanes.load(row + u), r = lanes.load(row + H + u), z = lanes.load(row + 2 * H + u);
    const Vector<T> before = lanes.load(before_row + u), dy = lanes.load(dy_row + u);
    Vector<T> candidate = n, d_n = dy * (one - z);
    if (candidate_mask) {
      const Vector<T> m = lanes.load(candidate_mask + u);
      candidate = n * m;
      d_n = d_n * m;
    }
    d_n = d_n * (one - n * n);
    const Vector<T> d_z = dy * (before - candidate) * z * (one - z);
    if (kAfter) {
      const Vector<T> q = lanes.load(row + 3 * H + u);
      lanes.store(d_row + H + u, d_n * q * r * (one - r));
      lanes.store(d_row + 3 * H + u, d_n * r);
    }
    lanes.store(d_row + u, d_n);
    lanes.store(d_row + 2 * H + u, d_z);
    lanes.store(d_before + u, z * dy);
  });
}

// Reset before: from `d_reset_hidden` = ∂/∂(r h'), the gradient of r̄ and what r h' adds to that of `dropped`.
// `reset_gate` is r; d_reset may be it.
template <class T>
inline void gru_reset_backward(int64_t H, const T *reset_gate, const T *dropped, const T *d_reset_hidden, T *d_reset,
                               T *d_dropped) {
  const Vector<T> one = broadcast<T>(T(1));
  each_vector<T>(H, [&](int64_t u, auto lanes) {
    const Vector<T> r = lanes.load(reset_gate + u), d = lanes.load(d_reset_hidden + u);
    lanes.store(d_reset + u, d * lanes.load(dropped + u) * r * (one - r));
    lanes.store(d_dropped + u, fma<T>(d, r, lanes.load(d_dropped + u)));
  });
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
