// The element-wise part of an LSTM step, forward and backward, for one row of the batch.
//
// The row of gates holds i f g o, H each: before forward the sums of the products and biases, afterwards the gates
// themselves; backward makes of it the gradients of those sums.
//
//   i = σ(ī + p_i c')   f = σ(f̄ + p_f c')   g = tanh ḡ   c = f c' + i (m g)   o = σ(ō + p_o c)   y = o tanh(n(c))
//
// with c' the cell state before, m the mask on the candidate, n the layer normalisation of the cell. Zoneout
// carries w c + (1 - w) c' on, and y is computed from c.
#ifndef GATESTACK_LSTM_POINTWISE_H
#define GATESTACK_LSTM_POINTWISE_H

#include "layer_norm.h"
#include "vector_math.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

template <class T> struct LSTMOptions {
  const T *peephole;       // [3][H] or NULL
  const T *candidate_mask; // [H], of this row and step, or NULL
  const T *zoneout_cell;   // [H], the weight w of the new cell state, or NULL
  const T *gain_cell;      // [H] or NULL
  const T *bias_cell;      // [H] where gain_cell is
  T *peephole_gradient;    // [3][H], of this row, added to; backward, with peephole
  T *gain_cell_gradient;   // [H], of this row, added to; backward, with gain_cell
  T *bias_cell_gradient;   // [H], likewise
  T *rows;                 // [4][H], scratch
};

// c = f c' + i (m g), as forward computed it, to the bit.
template <class T>
inline void lstm_new_cell(int64_t H, const T *gates, const T *before, T *cell, const LSTMOptions<T> &options) {
  each_vector<T>(H, [&](int64_t u, auto lanes) {
    Vector<T> candidate = lanes.load(gates + 2 * H + u);
    if (options.candidate_mask) candidate = candidate * lanes.load(options.candidate_mask + u);
    lanes.store(cell + u, fma<T>(lanes.load(gates + H + u), lanes.load(before + u), lanes.load(gates + u) * candidate));
  });
}

// y = o tanh(n(c)) for c in options.rows, which is overwritten.
template <class T> inline void lstm_normalised_output(int64_t H, const T *o_row, T *y, const LSTMOptions<T> &options) {
  T *const cell = options.rows;
  const Moments<T> moments = moments_of(cell, H);
  each_vector<T>(H, [&](int64_t u, auto lanes) {
    const Vector<T> n = moments.normalise(lanes.load(cell + u));
    lanes.store(cell + u, fma<T>(n, lanes.load(options.gain_cell + u), lanes.load(options.bias_cell + u)));
  });
  tanh_row(cell, cell, H);
  multiply_row(y, o_row, cell, H);
}

// Writes the gates in place, y [H] and the cell state carried on into `cell` [H], which holds c' before.
template <class T, bool kPlain>
inline void lstm_forward(int64_t H, T *gates, T *cell, T *y, const LSTMOptions<T> &options) {
  T *const i_row = gates, *const f_row = gates + H, *const g_row = gates + 2 * H, *const o_row = gates + 3 * H;
  const T *const p = kPlain ? nullptr : options.peephole;
  T *const new_cell = options.rows;
  if (p)
    each_vector<T>(H, [&](int64_t u, auto lanes) {
      const Vector<T> before = lanes.load(cell + u);
      lanes.store(i_row + u, fma<T>(lanes.load(p + u), before, lanes.load(i_row + u)));
      lanes.store(f_row + u, fma<T>(lanes.load(p + H + u), before, lanes.load(f_row + u)));
    });
  sigmoid_row(i_row, i_row, 2 * H);
  tanh_row(g_row, g_row, H);
  each_vector<T>(H, [&](int64_t u, auto lanes) {
    const Vector<T> before = lanes.load(cell + u);
    Vector<T> candidate = lanes.load(g_row + u);
    if (!kPlain && options.candidate_mask) candidate = candidate * lanes.load(options.candidate_mask + u);
    const Vector<T> c = fma<T>(lanes.load(f_row + u), before, lanes.load(i_row + u) * candidate);
    if (p) lanes.store(o_row + u, fma<T>(lanes.load(p + 2 * H + u), c, lanes.load(o_row + u)));
    Vector<T> carried = c;
    if (!kPlain && options.zoneout_cell) {
      const Vector<T> w = lanes.load(options.zoneout_cell + u);
      carried = fma<T>(w, c, (broadcast<T>(T(1)) - w) * before);
    }
    lanes.store(cell + u, carried);
    if (!kPlain) lanes.store(new_cell + u, c);
  });
  sigmoid_row(o_row, o_row, H);
  if (!kPlain && options.gain_cell) return lstm_normalised_output(H, o_row, y, options);
  map_row_with<T>(kPlain ? cell : new_cell, o_row, y, H, [](const auto &c, const auto &o) { return tanh<T>(c) * o; });
}

// y [H] again, from the gates: the operand of the projection's gradient.
template <class T>
inline void lstm_output(int64_t H, const T *gates, const T *before, T *y, const LSTMOptions<T> &options) {
  const T *const o_row = gates + 3 * H;
  lstm_new_cell(H, gates, before, options.rows, options);
  if (options.gain_cell) return lstm_normalised_output(H, o_row, y, options);
  tanh_row(options.rows, options.rows, H);
  multiply_row(y, o_row, options.rows, H);
}

// From dy [H] and, in `d_cell` [H], the gradient of the cell state carried on: the gradients of the four sums
// into d_gates (may be gates), and of c' into d_cell. `before` is c'.
template <class T, bool kPlain>
inline void lstm_backward(int64_t H, const T *gates, const T *before_row, const T *dy_row, T *d_cell, T *d_gates,
                          const LSTMOptions<T> &options) {
  const T *const i_row = gates, *const f_row = gates + H, *const g_row = gates + 2 * H, *const o_row = gates + 3 * H;
  const T *const p = kPlain ? nullptr : options.peephole;
  const Vector<T> one = broadcast<T>(T(1));
  // c, then tanh(c) or tanh(n(c)).
  T *const c_row = options.rows, *const squashed_row = options.rows + H;
  lstm_new_cell(H, gates, before_row, c_row, options);
  T *const d_c_row = !kPlain && options.gain_cell ? options.rows + 2 * H : nullptr;
  if (d_c_row) {
    T *const d_n_row = options.rows + 3 * H;
    const Moments<T> moments = moments_of(c_row, H);
    each_vector<T>(H, [&](int64_t u, auto lanes) {
      const Vector<T> n = moments.normalise(lanes.load(c_row + u));
      lanes.store(squashed_row + u, fma<T>(n, lanes.load(options.gain_cell + u), lanes.load(options.bias_cell + u)));
    });
    tanh_row(squashed_row, squashed_row, H);
    each_vector<T>(H, [&](int64_t u, auto lanes) {
      const Vector<T> n = moments.normalise(lanes.load(c_row + u)), squashed = lanes.load(squashed_row + u);
      const Vector<T> d = lanes.load(dy_row + u) * lanes.load(o_row + u) * (one - squashed * squashed);
      T *const d_gain = options.gain_cell_gradient + u, *const d_bias = options.bias_cell_gradient + u;
      lanes.store(d_gain, fma<T>(d, n, lanes.load(d_gain)));
      lanes.store(d_bias, lanes.load(d_bias) + d);
      lanes.store(d_n_row + u, d * lanes.load(options.gain_cell + u));
    });
    moments_backward(moments, c_row, d_n_row, d_c_row, H);
  } else {
    tanh_row(c_row, squashed_row, H);
  }

  each_vector<T>(H, [&](int64_t u, auto lanes) {
    const Vector<T> i = lanes.load(i_row + u), f = lanes.load(f_row + u), g = lanes.load(g_row + u);
    const Vector<T> o = lanes.load(o_row + u), before = lanes.load(before_row + u), dy = lanes.load(dy_row + u);
    const Vector<T> c = lanes.load(c_row + u), squashed = lanes.load(squashed_row + u);
    Vector<T> candidate = g;
    if (!kPlain && options.candidate_mask) candidate = g * lanes.load(options.candidate_mask + u);
    const Vector<T> d_o = dy * squashed * o * (one - o);
    Vector<T> d_c = d_c_row ? lanes.load(d_c_row + u) : dy * o * (one - squashed * squashed);
    Vector<T> d_carried = lanes.load(d_cell + u), d_before = {};
    if (!kPlain && options.zoneout_cell) {
      const Vector<T> w = lanes.load(options.zoneout_cell + u);
      d_before = (one - w) * d_carried;
      d_carried = w * d_carried;
    }
    d_c = d_c + d_carried;
    if (p) d_c = fma<T>(d_o, lanes.load(p + 2 * H + u), d_c);
    const Vector<T> d_i = d_c * candidate * i * (one - i);
    const Vector<T> d_f = d_c * before * f * (one - f);
    Vector<T> d_g = d_c * i;
    if (!kPlain && options.candidate_mask) d_g = d_g * lanes.load(options.candidate_mask + u);
    d_g = d_g * (one - g * g);
    d_before = fma<T>(d_c, f, d_before);
    if (p) {
      d_before = fma<T>(d_i, lanes.load(p + u), fma<T>(d_f, lanes.load(p + H + u), d_before));
      T *const d_p = options.peephole_gradient;
      lanes.store(d_p + u, fma<T>(d_i, before, lanes.load(d_p + u)));
      lanes.store(d_p + H + u, fma<T>(d_f, before, lanes.load(d_p + H + u)));
      lanes.store(d_p + 2 * H + u, fma<T>(d_o, c, lanes.load(d_p + 2 * H + u)));
    }
    lanes.store(d_cell + u, d_before);
    lanes.store(d_gates + u, d_i);
    lanes.store(d_gates + H + u, d_f);
    lanes.store(d_gates + 2 * H + u, d_g);
    lanes.store(d_gates + 3 * H + u, d_o);
  });
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
