// The parallel half of the backward pass: dx, and the sums over the entries of a chunk that make the gradients of
// weights.
#ifndef GATESTACK_BACKWARD_SUMS_H
#define GATESTACK_BACKWARD_SUMS_H

#include "backward.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

// to [columns][rows] = fromᵀ, column n of `from` having come from row (n - shift) mod columns.
template <class T>
inline void transpose(bool any, const T *from, int64_t rows, int64_t columns, int64_t shift, T *to) {
  if (!to) return;
  if (!any) return fill_row(to, T(0), rows * columns);
  constexpr int64_t kSquare = 16; // both sides by whole cache lines
  for (int64_t n0 = 0; n0 < columns; n0 += kSquare)
    for (int64_t m0 = 0; m0 < rows; m0 += kSquare)
      for (int64_t n = n0; n < n0 + kSquare && n < columns; ++n) {
        const int64_t column = n + shift < columns ? n + shift : n + shift - columns;
        for (int64_t m = m0; m < m0 + kSquare && m < rows; ++m) to[n * rows + m] = from[m * columns + column];
      }
}

// All such sums of a chunk, as a list of tasks: a panel of columns, some rows.
template <class T> class Backward<T>::Products {
public:
  Products(const Backward &backward, const Chunk &chunk) : backward_(backward), chunk_(chunk) {
    const LayerPlan &layer = backward.plan_.layer[chunk.l];
    const int64_t I = layer.I, H = layer.H, P = layer.P, stride = backward.stride_;
    for (int d = 0; d < backward.plan_.D; ++d) {
      if (!backward.gradients(chunk.l, d)) continue;
      const gatestack_weights &wanted = *backward.gradients(chunk.l, d);
      const Side &side = backward.side_[d];
      T *const d_hidden = side.weights + I * layer.x_columns, *const d_candidate = d_hidden + P * layer.h_columns;
      if (wanted.weight_input) add({side.x, side.dG, stride, I, layer.x_columns, side.weights});
      if (wanted.weight_hidden) add({side.h, side.dG + layer.d_h_first, stride, P, layer.h_columns, d_hidden});
      if (wanted.weight_hidden && layer.before) add({side.reset_rows, side.dG, stride, H, H, d_candidate});
      if (wanted.weight_projection)
        add({side.d_projected_rows, side.outputs, backward.width_, P, H, side.d_projection});
      if (!layer.norm && (wanted.bias_input || wanted.bias_hidden))
        add({backward.ones_, side.dG, stride, 1, layer.d_width, side.biases});
    }
  }
  int64_t count() const { return tasks_; }
  void run(int64_t task) const {
    int i = 0;
    for (; task >= tasks_of(sums_[i]); ++i) task -= tasks_of(sums_[i]);
    const Sum &sum = sums_[i];
    backward_.add_up(sum, chunk_, task % sum.strips() * kStrip,
                     task / sum.strips() * sum.rows_of_task());
  }

private:
  void add(const Sum &sum) {
    sums_[used_++] = sum;
    tasks_ += tasks_of(sum);
  }
  static int64_t tasks_of(const Sum &sum) { return sum.strips() * sum.parts(); }
  const Backward &backward_;
  const Chunk &chunk_;
  Sum sums_[10];
  int used_ = 0;
  int64_t tasks_ = 0;
};

template <class T>
void Backward<T>::add_up(const Sum &sum, const Chunk &chunk, int64_t first_column, int64_t first_row) const {
  constexpr int64_t kPanel = panel_width<T>();
  alignas(64) T a[kEntriesAtOnce * kRowsOfTask];
  const T *a_rows[kEntriesAtOnce];
  T *c[kRowsOfTask];
  const int64_t rows = smaller(sum.rows - first_row, sum.rows_of_task());
  const int64_t end = smaller(first_column + kStrip, sum.columns);
  for (int64_t m = 0; m < rows; ++m) c[m] = sum.c + (first_row + m) * sum.columns;
  for (int64_t k = 0; k < kEntriesAtOnce; ++k) a_rows[k] = a + k * kRowsOfTask;
  for (int64_t first = 0; first < chunk.entries; first += kEntriesAtOnce) {
    const int64_t count = smaller(chunk.entries - first, kEntriesAtOnce);
    for (int64_t k = 0; k < count; ++k) copy_row(a + k * kRowsOfTask, sum.a[first + k] + first_row, rows);
    for (int64_t column = first_column; column < end; column += kPanel) {
      const int64_t columns = smaller(end - column, kPanel);
      product_panel<T, ColumnsOfA>(a_rows, 0, sum.b + first * sum.b_stride + column, sum.b_stride, count,
                                   chunk.first && first == 0 ? zeros_ : nullptr, c, rows, column, columns);
    }
  }
}

template <class T>
void Backward<T>::hand_out_weights(int l, int d, bool any) const {
  const LayerPlan &layer = plan_.layer[l];
  if (!gradients(l, d)) return;
  const gatestack_weights &wanted = *gradients(l, d);
  const Side &side = side_[d];
  const int64_t I = layer.I, H = layer.H, P = layer.P, rows = layer.G * H;
  T *const hidden = static_cast<T *>(wanted.weight_hidden), *const d_hidden = side.weights + I * layer.x_columns;
  transpose(any, side.weights, I, layer.x_columns, layer.shift, static_cast<T *>(wanted.weight_input));
  transpose(any, d_hidden, P, layer.h_columns, 0, hidden);
  if (layer.before) transpose(any, d_hidden + P * layer.h_columns, H, H, 0, hidden ? hidden + 2 * H * H : nullptr);
  if (T *const projection = static_cast<T *>(wanted.weight_projection)) {
    if (any) copy_row(projection, side.d_projection, P * H);
    else fill_row(projection, T(0), P * H);
  }

  T *const b_x = static_cast<T *>(wanted.bias_input), *const b_h = static_cast<T *>(wanted.bias_hidden);
  const bool apart = layer.gru && !layer.before;
  for (int64_t row = 0; row < rows && !layer.norm; ++row) {
    const int64_t column = row + layer.shift < rows ? row + layer.shift : row + layer.shift - rows;
    if (b_x) b_x[row] = any ? side.biases[column] : T(0);
    if (b_h) b_h[row] = any ? side.biases[apart && row >= 2 * H ? row + H : column] : T(0);
  }
  int64_t at = 0;
  if (layer.lstm && row_gradients(layer)) {
    add_up_rows(layer, d, at, 3 * H, wanted.peephole);
    add_up_rows(layer, d, at + 3 * H, H, wanted.gain_cell);
    add_up_rows(layer, d, at + 4 * H, H, wanted.bias_cell);
    at = 5 * H;
  }
  if (!layer.norm) return;
  add_up_rows(layer, d, at, rows, wanted.gain_input);
  add_up_rows(layer, d, at + rows, rows, wanted.bias_input);
  add_up_rows(layer, d, at + 2 * rows, rows, wanted.gain_hidden);
  add_up_rows(layer, d, at + 3 * rows, rows, wanted.bias_hidden);
}

template <class T>
void Backward<T>::add_up_rows(const LayerPlan &layer, int d, int64_t first, int64_t count, void *to) const {
  T *const sum = static_cast<T *>(to);
  if (!sum) return;
  fill_row(sum, T(0), count);
  for (int64_t n = 0; n < plan_.batch.N; ++n) add_row(sum, row_gradient(layer, d, n) + first, count);
}

template <class T>
void Backward<T>::multiply_input_block(const Chunk &chunk, int d, int64_t block) const {
  const LayerPlan &layer = plan_.layer[chunk.l];
  const T *a[kBlock];
  const int64_t first = block * kBlock;
  const int64_t count = first + kBlock < chunk.entries ? kBlock : chunk.entries - first;
  for (int64_t i = 0; i < count; ++i) a[i] = side_[d].dG + (first + i) * stride_;
  uint32_t *const room = plan_.half ? side_[d].room + block * kBlock * pairs_of(layer.x_columns) : nullptr;
  plan_.packed[chunk.l][d].x_back.multiply(a, plan_.D == 1 ? zeros_ : nullptr, true, side_[d].dx + first, count, room);
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
