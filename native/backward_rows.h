// The serial half of the backward pass: the steps of a group of rows in reverse, and what they leave for the products.
#ifndef GATESTACK_BACKWARD_ROWS_H
#define GATESTACK_BACKWARD_ROWS_H

#include "backward.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

template <class T> inline void fetch_row(const T *row, int64_t n) {
  const char *const end = reinterpret_cast<const char *>(row + n);
  for (const char *line = reinterpret_cast<const char *>(row); line < end; line += 64) __builtin_prefetch(line);
}

// kept = (1 - w) dh, dh = w dh
template <class T> inline void split(T *dh, T *kept, const T *weight, int64_t n) {
  const Vector<T> one = broadcast<T>(T(1));
  each_vector<T>(n, [&](int64_t u, auto lanes) {
    const Vector<T> w = lanes.load(weight + u), d = lanes.load(dh + u);
    lanes.store(kept + u, (one - w) * d);
    lanes.store(dh + u, w * d);
  });
}

template <class T>
inline LSTMOptions<T> lstm_options(const LayerPlan &layer, const gatestack_weights &weights, const StepMasks<T> &masks,
                                   T *grad, T *rows) {
  LSTMOptions<T> options = {};
  options.peephole = static_cast<const T *>(weights.peephole);
  options.candidate_mask = masks.candidate;
  options.zoneout_cell = masks.zoneout_cell;
  options.gain_cell = static_cast<const T *>(weights.gain_cell);
  options.bias_cell = static_cast<const T *>(weights.bias_cell);
  options.peephole_gradient = grad;
  options.gain_cell_gradient = grad ? grad + 3 * layer.H : nullptr;
  options.bias_cell_gradient = grad ? grad + 4 * layer.H : nullptr;
  options.rows = rows;
  return options;
}

template <class T>
inline void backward_lstm(const LayerPlan &layer, const gatestack_weights &weights, const StepMasks<T> &masks,
                          const T *gates, const T *before, const T *dy, T *dc, T *d_sums, T *grad, T *rows) {
  const LSTMOptions<T> options = lstm_options(layer, weights, masks, grad, rows);
  if (layer.plain) lstm_backward<T, true>(layer.H, gates, before, dy, dc, d_sums, options);
  else lstm_backward<T, false>(layer.H, gates, before, dy, dc, d_sums, options);
}

// y = o tanh(n(c)) of a row again, the operand of the projection's gradient.
template <class T>
inline void output_of_row(const LayerPlan &layer, const gatestack_weights &weights, const StepMasks<T> &masks,
                          const T *gates, const T *before, T *rows, T *y) {
  const LSTMOptions<T> options = lstm_options<T>(layer, weights, masks, nullptr, rows);
  lstm_output(layer.H, gates, before, y, options);
}

template <class T>
void Backward<T>::run_rows(const Chunk &chunk, int d, int64_t group) {
  const int l = chunk.l;
  const LayerPlan &layer = plan_.layer[l];
  const Batch &batch = plan_.batch;
  const Task &task = tasks_[group * plan_.D + d];
  int64_t R = groups_.size(group, batch.N);
  while (R > 0 && batch.length(groups_.row(batch, group, R - 1)) <= chunk.p0) --R;
  if (R == 0) return;
  number_entries(chunk, task.base);
  for (int64_t r = 0; r < R && plan_.drops_hidden(l); ++r)
    draw_hidden_mask(plan_, l, d, groups_.row(batch, group, r), task.hidden_mask + r * width_);
  list_entries(chunk, d, group, R);
  if (layer.norm || plan_.recompute) restore(chunk, d, group, R);
  int64_t rows = 0;
  for (int64_t p = chunk.p1 - 1; p >= chunk.p0; --p) {
    while (rows < R && batch.length(groups_.row(batch, group, rows)) > p) ++rows;
    if (rows > 0) run_step(chunk, d, group, rows, p);
  }
}

template <class T>
void Backward<T>::list_entries(const Chunk &chunk, int d, int64_t group, int64_t R) {
  const int l = chunk.l;
  const LayerPlan &layer = plan_.layer[l];
  const Batch &batch = plan_.batch;
  const Task &task = tasks_[group * plan_.D + d];
  const Side &side = side_[d];
  for (int64_t r = 0; r < R; ++r) {
    const int64_t n = groups_.row(batch, group, r), length = batch.length(n);
    const int64_t end = length < chunk.p1 ? length : chunk.p1;
    for (int64_t p = chunk.p0; p < end; ++p) {
      const int64_t k = task.base[n] + p - chunk.p0, j = plan_.step_at(d, length, p), s = batch.offset[n] + j;
      const int64_t t = batch.time(n, j);
      const auto below = [&](int under) { return plan_.hidden[under] + s * plan_.D * plan_.layer[under].P; };
      side.x[k] = input_row(plan_, l, n, j, t, side.inputs ? side.inputs + k * width_ : nullptr, task.mask, below);
      side.dx[k] = d_input(l, n, t, s);
      side.h[k] = h_before(l, d, n, p);
      if (!plan_.drops_hidden(l)) continue;
      multiply_row(side.dropped + k * width_, side.h[k], task.hidden_mask + r * width_, layer.P);
      side.h[k] = side.dropped + k * width_;
    }
  }
}

template <class T>
void Backward<T>::restore(const Chunk &chunk, int d, int64_t group, int64_t R) {
  const LayerPlan &layer = plan_.layer[chunk.l];
  const PackedDirection<T> &packed = plan_.packed[chunk.l][d];
  const Batch &batch = plan_.batch;
  const Task &task = tasks_[group * plan_.D + d];
  const Side &side = side_[d];
  int64_t count = 0;
  const auto each = [&](auto body) {
    for (int64_t r = 0; r < R; ++r) {
      const int64_t n = groups_.row(batch, group, r), end = smaller(batch.length(n), chunk.p1);
      for (int64_t k = task.base[n]; k < task.base[n] + end - chunk.p0; ++k) body(k);
    }
  };
  each([&](int64_t k) {
    task.a[count] = side.x[k];
    task.c[count++] = side.dG + k * stride_;
  });
  packed.x.multiply(task.a, layer.norm ? zeros_ : packed.bias, layer.norm, task.c, count, task.room);
  if (!layer.norm && layer.width > layer.x_columns)
    for (int64_t i = 0; i < count; ++i)
      copy_row(task.c[i] + layer.x_columns, packed.bias + layer.x_columns, layer.width - layer.x_columns);
  if (!plan_.recompute) return;
  count = 0;
  each([&](int64_t k) {
    task.a[count] = side.h[k];
    task.c[count++] = side.dG + k * stride_ + layer.d_h_first;
  });
  packed.h.multiply(task.a, layer.norm ? zeros_ : nullptr, true, task.c, count, task.room);
  if (!layer.before) return;
  count = 0;
  each([&](int64_t k) {
    T *const row = side.dG + k * stride_;
    gru_reset_forward(layer.H, row, side.h[k], side.reset + k * width_);
    task.a[count] = side.reset + k * width_;
    task.c[count++] = row;
  });
  packed.h_candidate.multiply(task.a, nullptr, true, task.c, count, task.room);
}

template <class T>
void Backward<T>::run_step(const Chunk &chunk, int d, int64_t group, int64_t rows, int64_t p) {
  const int l = chunk.l;
  const LayerPlan &layer = plan_.layer[l];
  const PackedDirection<T> &packed = plan_.packed[l][d];
  const Batch &batch = plan_.batch;
  const Task &task = tasks_[group * plan_.D + d];
  const Side &side = side_[d];
  const int64_t P = layer.P;
  const bool apart = plan_.drops_hidden(l); // the gradient of the dropped h' comes first
  const auto entry = [&](int64_t r) { return task.base[groups_.row(batch, group, r)] + p - chunk.p0; };

  for (int64_t r = 0; r < rows; ++r) {
    const int64_t n = groups_.row(batch, group, r), j = plan_.step_at(d, batch.length(n), p);
    const int64_t s = batch.offset[n] + j, t = batch.time(n, j);
    T *const dh = side.dh + n * width_;
    if (p > 1) fetch_ahead(l, d, n, p - 2);
    if (const T *const dy = d_output(l, n, t, s)) add_row(dh, dy + d * P, P);
    if (layer.zoneout_hidden) {
      task.masks[l].draw(plan_, l, d, n, j);
      split(dh, task.kept + r * width_, task.masks[l].zoneout_hidden, P);
    }
    if (layer.project) copy_row(side.d_projected + entry(r) * width_, dh, P);
    task.a[r] = dh;
    task.c[r] = task.dy + r * width_;
  }
  if (layer.project) packed.projection_back.multiply(task.a, zeros_, true, task.c, rows, task.room);

  for (int64_t r = 0; r < rows; ++r) {
    const int64_t n = groups_.row(batch, group, r);
    T *const dh = side.dh + n * width_;
    step_of_row(chunk, d, task, n, entry(r), p, layer.project ? task.dy + r * width_ : dh, dh);
    if (layer.zoneout_hidden) add_row(dh, task.kept + r * width_, P);
    task.a[r] = side.dG + entry(r) * stride_ + layer.d_h_first;
    task.c[r] = apart ? task.dy + r * width_ : dh;
    if (apart) fill_row(task.c[r], T(0), P);
  }
  if (layer.before) reset_back(chunk, d, group, rows, p);
  packed.h_back.multiply(task.a, nullptr, true, task.c, rows, task.room);
  if (!apart) return;
  for (int64_t r = 0; r < rows; ++r) {
    multiply_row(task.c[r], task.c[r], task.hidden_mask + r * width_, P);
    add_row(side.dh + groups_.row(batch, group, r) * width_, task.c[r], P);
  }
}

template <class T>
void Backward<T>::step_of_row(const Chunk &chunk, int d, const Task &task, int64_t n, int64_t k, int64_t p,
                              const T *dy, T *dh) {
  const int l = chunk.l;
  const LayerPlan &layer = plan_.layer[l];
  const gatestack_weights &weights = layer.layer->weights[d];
  const Side &side = side_[d];
  const int64_t H = layer.H, j = plan_.step_at(d, plan_.batch.length(n), p), s = plan_.batch.offset[n] + j;
  const StepMasks<T> &masks = task.masks[l];
  masks.draw(plan_, l, d, n, j);
  T *const d_row = side.dG + k * stride_;
  T *const d_sums = layer.norm ? task.plain : d_row;
  const T *gates = plan_.gates[l][d] ? plan_.gates[l][d] + s * layer.saved_width : nullptr;
  const T *const h_raw = gates ? gates : d_row + layer.d_h_first; // with normalisation
  const T *const before_c = layer.lstm ? c_before(l, d, n, p) : nullptr;
  const T *const before_h = h_before(l, d, n, p);
  if (layer.norm || plan_.recompute) {
    if (layer.norm) normalise_products(layer, weights, d_row, h_raw, d_sums);
    if (layer.lstm) copy_row(task.cell, before_c, H);
    cell_forward(layer, weights, masks, d_sums, before_h, task.cell, task.trash, task.row);
    gates = d_sums;
  }
  if (layer.before) {
    multiply_row(side.reset + k * width_, gates + H, side.h[k], H);
    copy_row(d_row + H, gates + H, H); // r, until its gradient is known
  }

  T *const grad = row_gradients(layer) ? row_gradient(layer, d, n) : nullptr;
  if (layer.lstm) {
    T *const dc = side.dc + n * width_;
    if (layer.layer->grad_cells) {
      const int64_t at = (n * plan_.batch.T + plan_.batch.time(n, j)) * plan_.D + d;
      add_row(dc, static_cast<const T *>(layer.layer->grad_cells) + at * H, H);
    }
    if (layer.project) output_of_row(layer, weights, masks, gates, before_c, task.row, side.outputs + k * width_);
    backward_lstm(layer, weights, masks, gates, before_c, dy, dc, d_sums, grad, task.row);
    fill_row(dh, T(0), layer.P);
  } else if (layer.gru) {
    if (layer.before) gru_backward<T, false>(H, gates, before_h, dy, dh, d_sums, masks.candidate);
    else gru_backward<T, true>(H, gates, before_h, dy, dh, d_sums, masks.candidate);
  } else {
    rnn_backward(layer.relu, H, gates, dy, d_sums);
    fill_row(dh, T(0), H);
  }
  if (!layer.norm) return;
  T *const of_products = grad + (layer.lstm ? 5 * H : 0);
  const int64_t GH = layer.G * H;
  normalised_backward(ProductBlocks{layer.G, layer.gru, true}, H, h_raw, static_cast<const T *>(weights.gain_hidden),
                      d_sums, of_products + 2 * GH, of_products + 3 * GH, task.trash, d_row + layer.d_h_first);
  normalised_backward(ProductBlocks{layer.G, layer.gru, false}, H, d_row, static_cast<const T *>(weights.gain_input),
                      d_sums, of_products, of_products + GH, task.trash, d_row);
}

template <class T>
void Backward<T>::reset_back(const Chunk &chunk, int d, int64_t group, int64_t rows, int64_t p) {
  const LayerPlan &layer = plan_.layer[chunk.l];
  const Side &side = side_[d];
  const Task &task = tasks_[group * plan_.D + d];
  const auto entry = [&](int64_t r) { return task.base[groups_.row(plan_.batch, group, r)] + p - chunk.p0; };
  const int64_t H = layer.H;
  const T **const a = task.a + rows;
  T **const c = task.c + rows;
  for (int64_t r = 0; r < rows; ++r) {
    a[r] = side.dG + entry(r) * stride_;
    c[r] = task.kept + r * width_;
  }
  plan_.packed[chunk.l][d].h_candidate_back.multiply(a, zeros_, true, c, rows, task.room);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t k = entry(r);
    T *const d_reset = side.dG + k * stride_ + H; // holds r
    gru_reset_backward(H, d_reset, side.h[k], c[r], d_reset, task.c[r]);
  }
}

template <class T>
void Backward<T>::fetch_ahead(int l, int d, int64_t n, int64_t p) const {
  const LayerPlan &layer = plan_.layer[l];
  const int64_t j = plan_.step_at(d, plan_.batch.length(n), p), s = plan_.batch.offset[n] + j;
  if (plan_.gates[l][d]) fetch_row(plan_.gates[l][d] + s * layer.saved_width, layer.saved_width);
  if (layer.lstm) fetch_row(c_before(l, d, n, p), layer.H);
  else fetch_row(h_before(l, d, n, p), layer.P);
  if (const T *const dy = d_output(l, n, plan_.batch.time(n, j), s)) fetch_row(dy + d * layer.P, layer.P);
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
