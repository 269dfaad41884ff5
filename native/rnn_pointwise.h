// The element-wise part of a plain recurrent step: y = tanh(s) or relu(s), s the sum of products and biases. The row
// holds s before forward and y after it; backward makes of it the gradient of s.
#ifndef GATESTACK_RNN_POINTWISE_H
#define GATESTACK_RNN_POINTWISE_H

#include "vector_math.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

template <class T> inline void rnn_forward(bool relu, int64_t H, T *row, T *y) {
  const Vector<T> zero = {};
  if (relu)
    each_vector<T>(H, [&](int64_t u, auto lanes) { lanes.store(row + u, at_least<T>(zero, lanes.load(row + u))); });
  else
    tanh_row(row, row, H);
  copy_row(y, row, H);
}

template <class T> inline void rnn_backward(bool relu, int64_t H, const T *row, const T *dy_row, T *d_row) {
  const Vector<T> zero = {}, one = broadcast<T>(T(1));
  each_vector<T>(H, [&](int64_t u, auto lanes) {
    const Vector<T> y = lanes.load(row + u), dy = lanes.load(dy_row + u);
    lanes.store(d_row + u, relu ? (y > zero ? dy : zero) : dy * (one - y * y));
  });
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
