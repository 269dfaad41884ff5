// What a call means in memory: the columns of every product, where weights, saved arrays and steps lie.
//
// The row of sums of one step ("plain row"), blocks of H columns, and which of them each product reaches:
//
//                        blocks      W x           U h               rows the backward pass reads
//   LSTM                 i f g o     i f g o       i f g o           the gates
//   GRU, reset after     n r z q     n r z         r z q             n r z q
//   GRU, reset before    n r z       n r z         r z, then n       n r z
//   RNN                  y           y             y                 y
//
// With layer normalisation the products go to rows of their own, W x | U h, and U h is what is saved.
#ifndef GATESTACK_PLAN_H
#define GATESTACK_PLAN_H

#include "gatestack.h"
#include "packed_matrix.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

constexpr int kMostLayers = 64;

inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Hands out aligned pieces of one block of memory; from NULL it only counts.
class Arena {
public:
  explicit Arena(void *base) : base_(static_cast<char *>(base)) {}
  template <class T> T *take(int64_t count) {
    char *const piece = base_ ? base_ + used_ : nullptr;
    used_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return reinterpret_cast<T *>(piece);
  }
  int64_t used() const { return used_; }

private:
  char *base_;
  int64_t used_ = 0;
};

// The real steps of a batch. Step j of row n (its j-th real one) has number offset[n] + j in arrays over all real
// steps, and stands at time(n, j) in the padded ones.
struct Batch {
  int64_t N, T, S, longest;
  const int64_t *offset; // [N + 1]
  const int64_t *order;  // [N], the rows, longest first
  const int64_t *times;  // [S], or NULL where the real steps of every row are its first
  int64_t length(int64_t n) const { return offset[n + 1] - offset[n]; }
  int64_t time(int64_t n, int64_t j) const { return times ? times[offset[n] + j] : j; }
};

inline bool is_real(const gatestack_call &call, int64_t n, int64_t t) {
  if (call.lengths) return t < call.lengths[n];
  return !call.mask || call.mask[n * call.steps + t];
}

inline int64_t count_real(const gatestack_call &call, int64_t n) {
  if (call.lengths) return call.lengths[n];
  if (!call.mask) return call.steps;
  int64_t count = 0;
  for (int64_t t = 0; t < call.steps; ++t) count += call.mask[n * call.steps + t] != 0;
  return count;
}

// Shell sort: stable it is not, so ties are settled by the row's number.
inline void sort_longest_first(int64_t *order, const int64_t *offset, int64_t count) {
  const auto before = [&](int64_t a, int64_t b) {
    const int64_t la = offset[a + 1] - offset[a], lb = offset[b + 1] - offset[b];
    return la != lb ? la > lb : a < b;
  };
  int64_t gap = 1;
  while (gap < count / 3) gap = 3 * gap + 1;
  for (; gap >= 1; gap /= 3)
    for (int64_t i = gap; i < count; ++i) {
      const int64_t row = order[i];
      int64_t j = i;
      for (; j >= gap && before(row, order[j - gap]); j -= gap) order[j] = order[j - gap];
      order[j] = row;
    }
}

// With an arena that only counts, the arrays stay empty and N, T, S and the longest length are right.
inline Batch read_batch(const gatestack_call &call, Arena &arena, bool fill) {
  Batch batch = {call.batch, call.steps, 0, 0, nullptr, nullptr, nullptr};
  int64_t *const offset = arena.take<int64_t>(call.batch + 1), *const order = arena.take<int64_t>(call.batch);
  for (int64_t n = 0; n < call.batch; ++n) {
    const int64_t length = count_real(call, n);
    if (fill) {
      offset[n] = batch.S;
      order[n] = n;
    }
    batch.S += length;
    if (length > batch.longest) batch.longest = length;
  }
  int64_t *const times = call.mask ? arena.take<int64_t>(batch.S) : nullptr;
  if (!fill) return batch;
  offset[call.batch] = batch.S;
  if (call.mask)
    for (int64_t n = 0, s = 0; n < call.batch; ++n)
      for (int64_t t = 0; t < call.steps; ++t)
        if (is_real(call, n, t)) times[s++] = t;
  batch.offset = offset;
  if (call.lengths || call.mask) sort_longest_first(order, offset, call.batch);
  batch.order = order;
  batch.times = times;
  return batch;
}

struct LayerPlan {
  const gatestack_layer *layer;
  int64_t I, H, P;         // P is H where there is no projection
  int G;                   // gates
  bool lstm, gru, before;  // before: GRU with the reset before the product
  bool norm, project, relu;
  bool candidate_mask, zoneout_hidden, zoneout_cell;
  bool plain;              // an LSTM whose step has no option
  int64_t width;           // columns of the plain row
  int64_t x_columns, h_columns; // of the two products; reset before, h_columns is r z and n comes apart
  int64_t h_first;         // the first column of U h in the plain row
  int64_t d_width;         // columns of a row of gradients of products: plain row, or W x | U h
  int64_t d_h_first;       // the first column of U h there
  int64_t shift;           // rotation of W's rows against the columns of W x
  int64_t saved_width;     // columns saved per step: plain row, U h, or none

  void set(const gatestack_layer &l, const gatestack_weights &weights, bool recompute, bool training) {
    layer = &l;
    I = l.input_size;
    H = l.hidden_size;
    project = l.projection_size > 0;
    P = project ? l.projection_size : H;
    lstm = l.cell == GATESTACK_LSTM;
    before = l.cell == GATESTACK_GRU_RESET_BEFORE;
    gru = before || l.cell == GATESTACK_GRU;
    relu = l.cell == GATESTACK_RNN_RELU;
    G = lstm ? 4 : gru ? 3 : 1;
    norm = weights.gain_input != nullptr;
    width = (gru && !before ? 4 : G) * H;
    x_columns = G * H;
    h_columns = before ? 2 * H : G * H;
    h_first = gru ? H : 0;
    d_width = norm ? 2 * G * H : width;
    d_h_first = norm ? G * H : h_first;
    shift = gru ? H : 0;
    saved_width = recompute ? 0 : norm ? G * H : width;
    candidate_mask = training && l.candidate_dropout > 0;
    zoneout_hidden = l.zoneout_hidden > 0;
    zoneout_cell = lstm && l.zoneout_cell > 0;
    plain = lstm && !norm && !weights.peephole && !zoneout_cell && !candidate_mask;
  }
};

// Packed weights of one direction of one layer. The last four are for the backward pass.
template <class T> struct PackedDirection {
  PackedMatrix<T> x, h, h_candidate, projection;
  T *bias; // [width], the sum of both, by columns of the plain row
  PackedMatrix<T> x_back, h_back, h_candidate_back, projection_back;

  static PackedMatrix<T> take(Arena &arena, bool half, int64_t k_count, int64_t columns) {
    PackedMatrix<T> matrix = {nullptr, k_count, columns, half};
    matrix.data = arena.take<T>(matrix.size());
    return matrix;
  }
  void take_forward(const LayerPlan &plan, bool half, Arena &arena) {
    x = take(arena, half, plan.I, plan.x_columns);
    h = take(arena, half, plan.P, plan.h_columns);
    if (plan.before) h_candidate = take(arena, half, plan.H, plan.H);
    if (plan.project) projection = take(arena, half, plan.H, plan.P);
    bias = arena.take<T>(plan.width);
  }
  void take_backward(const LayerPlan &plan, bool half, Arena &arena) {
    x_back = take(arena, half, plan.x_columns, plan.I);
    h_back = take(arena, half, plan.h_columns, plan.P);
    if (plan.before) h_candidate_back = take(arena, half, plan.H, plan.H);
    if (plan.project) projection_back = take(arena, half, plan.P, plan.H);
  }
};

template <class T>
inline void pack_forward(const LayerPlan &plan, const gatestack_weights &from, const PackedDirection<T> &to) {
  const T *const x = static_cast<const T *>(from.weight_input), *const h = static_cast<const T *>(from.weight_hidden);
  const T *const b_x = static_cast<const T *>(from.bias_input), *const b_h = static_cast<const T *>(from.bias_hidden);
  const int64_t H = plan.H;
  to.x.pack_transposed(x, plan.shift);
  to.h.pack_transposed(h, 0);
  if (plan.before) to.h_candidate.pack_transposed(h + 2 * H * H, 0);
  if (plan.project) to.projection.pack_transposed(static_cast<const T *>(from.weight_projection), 0);
  fill_row(to.bias, T(0), plan.width);
  if (plan.norm) return; // biases come after the normalisation
  const bool apart = plan.gru && !plan.before; // b_hn stays with U h, inside the reset
  for (int64_t row = 0; row < plan.G * H; ++row) {
    const int64_t column = row + plan.shift < plan.x_columns ? row + plan.shift : row + plan.shift - plan.x_columns;
    const bool candidate = apart && row >= 2 * H;
    if (b_x) to.bias[column] += b_x[row];
    if (b_h) to.bias[candidate ? row + H : column] += b_h[row];
  }
}

template <class T>
inline void pack_backward(const LayerPlan &plan, const gatestack_weights &from, const PackedDirection<T> &to) {
  const T *const h = static_cast<const T *>(from.weight_hidden);
  to.x_back.pack_straight(static_cast<const T *>(from.weight_input), plan.shift);
  to.h_back.pack_straight(h, 0);
  if (plan.before) to.h_candidate_back.pack_straight(h + 2 * plan.H * plan.H, 0);
  if (plan.project) to.projection_back.pack_straight(static_cast<const T *>(from.weight_projection), 0);
}

// Everything about a call that both passes need.
template <class T> struct Plan {
  const gatestack_call *call;
  int L, D;
  bool save, recompute, training, half;
  Batch batch;
  LayerPlan layer[kMostLayers];
  PackedDirection<T> packed[kMostLayers][2];
  // Saved per layer: rows of gates and cell states by direction, [S][saved_width] and [S][H]; outputs h of both,
  // [S][D P], but for the last layer, whose h is in y unless a residual was added to it.
  T *gates[kMostLayers][2], *cells[kMostLayers][2], *hidden[kMostLayers];

  void set(const gatestack_call &c) {
    call = &c;
    L = static_cast<int>(c.layer_count);
    D = c.directions;
    save = c.flags & GATESTACK_SAVE;
    recompute = c.flags & GATESTACK_RECOMPUTE;
    training = c.flags & GATESTACK_TRAINING;
    half = c.flags & GATESTACK_BFLOAT16;
    for (int l = 0; l < L; ++l) layer[l].set(c.layers[l], c.layers[l].weights[0], recompute, training);
  }
  void take_packed(Arena &arena) {
    for (int l = 0; l < L; ++l)
      for (int d = 0; d < D; ++d) packed[l][d].take_forward(layer[l], half, arena);
  }
  void take_packed_backward(Arena &arena) {
    for (int l = 0; l < L; ++l)
      for (int d = 0; d < D; ++d) packed[l][d].take_backward(layer[l], half, arena);
  }
  void take_saved(Arena &arena) {
    for (int l = 0; l < L; ++l) {
      for (int d = 0; d < D; ++d) {
        gates[l][d] = layer[l].saved_width ? arena.take<T>(batch.S * layer[l].saved_width) : nullptr;
        cells[l][d] = layer[l].lstm ? arena.take<T>(batch.S * layer[l].H) : nullptr;
      }
      hidden[l] = l < L - 1 || layer[l].layer->residual ? arena.take<T>(batch.S * D * layer[l].P) : nullptr;
    }
  }

  // As many threads as were asked for and have work for longer than it takes to wake them (2e6 multiply-adds take
  // about 20 microseconds).
  int threads() const {
    int64_t work = 0;
    for (int l = 0; l < L; ++l) work += layer[l].I * layer[l].x_columns + layer[l].P * layer[l].h_columns;
    // By the padded steps: the same for every mask, as scratch is sized by it.
    const int64_t worth = 1 + work * D * batch.N * batch.T / 2000000;
    return worth < call->threads ? static_cast<int>(worth) : call->threads;
  }

  // Scratch of a task for products in bfloat16, or NULL.
  uint32_t *take_room(Arena &arena) const {
    int64_t longest = 0;
    for (int l = 0; l < L; ++l) longest = larger(longest, larger(larger(layer[l].I, layer[l].P), layer[l].d_width));
    return half ? arena.take<uint32_t>(room_for(longest)) : nullptr;
  }

  bool drops_input(int l) const { return training && layer[l].layer->input_dropout > 0; }
  bool drops_hidden(int l) const { return training && layer[l].layer->hidden_dropout > 0; }
  // Whether the input of layer l is more than the output of the layer below.
  bool adds_below(int l) const { return l > 0 && layer[l - 1].layer->residual; }
  bool composes_input(int l) const { return drops_input(l) || adds_below(l); }

  const T *x_row(int64_t n, int64_t t) const {
    return static_cast<const T *>(call->x) + n * call->x_batch + t * call->x_step;
  }
  T *y_row(int64_t n, int64_t t) const { return static_cast<T *>(call->y) + n * call->y_batch + t * call->y_step; }

  // The step of the row that is p-th to be computed in direction d.
  static int64_t step_at(int d, int64_t length, int64_t p) { return d == 0 ? p : length - 1 - p; }

  // The input of layer l before dropout: a pointer to it where it lies somewhere, else composed in `row`.
  // below(k) is the row of h of layer k at this step.
  template <class Below>
  const T *raw_input(int l, int64_t n, int64_t t, T *row, Below below) const {
    int k = l;
    while (k > 0 && layer[k - 1].layer->residual) --k;
    const T *const base = k == 0 ? x_row(n, t) : below(k - 1);
    if (k == l) return base;
    const int64_t I = layer[l].I;
    copy_row(row, base, I);
    for (; k < l; ++k) {
      const T *const h = below(k);
      each_vector<T>(I, [&](int64_t u, auto lanes) { lanes.store(row + u, lanes.load(row + u) + lanes.load(h + u)); });
    }
    return row;
  }
};

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
