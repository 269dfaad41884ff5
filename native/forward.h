// The forward pass: all layers, directions and steps of a batch.
//
// One direction: a task takes a group of rows through all layers, a chunk of steps at a time, so that a layer reads
// what the layer below has just written. Both directions: a phase per layer, a task per group and direction.
#ifndef GATESTACK_FORWARD_H
#define GATESTACK_FORWARD_H

#include "gru_pointwise.h"
#include "lstm_pointwise.h"
#include "normalised_products.h"
#include "rnn_pointwise.h"
#include "rows.h"
#include "threads.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

// The element-wise part of one step of one row, whatever the cell; the reset before the product has been applied.
// `row` holds the sums of the plain cell, `before` is h'; y may be before, but for the LSTM's.
template <class T>
inline void cell_forward(const LayerPlan &layer, const gatestack_weights &weights, const StepMasks<T> &masks, T *row,
                         const T *before, T *cell, T *y, T *rows) {
  const int64_t H = layer.H;
  if (layer.lstm) {
    LSTMOptions<T> options = {};
    options.rows = rows;
    if (layer.plain) return lstm_forward<T, true>(H, row, cell, y, options);
    options.peephole = static_cast<const T *>(weights.peephole);
    options.candidate_mask = masks.candidate;
    options.zoneout_cell = masks.zoneout_cell;
    options.gain_cell = static_cast<const T *>(weights.gain_cell);
    options.bias_cell = static_cast<const T *>(weights.bias_cell);
    lstm_forward<T, false>(H, row, cell, y, options);
  } else if (layer.before) {
    gru_forward<T, false>(H, row, before, y, masks.candidate);
  } else if (layer.gru) {
    gru_forward<T, true>(H, row, before, y, masks.candidate);
  } else {
    rnn_forward(layer.relu, H, row, y);
  }
}

// The row of sums of a normalised cell, from its two products.
template <class T>
inline void normalise_products(const LayerPlan &layer, const gatestack_weights &weights, const T *x_raw, const T *h_raw,
                               T *sums) {
  add_normalised(ProductBlocks{layer.G, layer.gru, false}, layer.H, x_raw, static_cast<const T *>(weights.gain_input),
                 static_cast<const T *>(weights.bias_input), true, sums);
  add_normalised(ProductBlocks{layer.G, layer.gru, true}, layer.H, h_raw, static_cast<const T *>(weights.gain_hidden),
                 static_cast<const T *>(weights.bias_hidden), false, sums);
}

template <class T> class Forward {
public:
  explicit Forward(Plan<T> &plan) : plan_(plan), groups_(plan) {}

  void take_scratch(Arena &arena) {
    const int64_t R = larger(groups_.most, 1);
    int64_t widest = 0;
    widest_ = panel_width<T>();
    for (int l = 0; l < plan_.L; ++l) {
      const LayerPlan &layer = plan_.layer[l];
      const int64_t sums = layer.norm ? 2 * layer.G * layer.H : layer.width;
      widest = larger(widest, sums);
      widest_ = larger(widest_, larger(layer.I, larger(layer.H, layer.P)));
    }
    // The sums of a chunk stay in the second-level cache, if that leaves enough rows for each reading of the weights.
    chunk_ = larger((int64_t(256) << 10) / (R * widest * int64_t(sizeof(T))), kRowsOfChunk / R);
    chunk_ = smaller(larger(chunk_, 1), 64);
    zeros_ = arena.take<T>(widest_);
    const bool keeps_below = !plan_.save && plan_.D == 2; // a layer needs all of both directions below
    for (int l = 0; l < plan_.L; ++l)
      below_[l] = keeps_below ? arena.take<T>(plan_.batch.S * 2 * plan_.layer[l].P) : nullptr;
    tasks_ = arena.take<Task>(groups_.count * plan_.D);
    const int64_t tasks = groups_.count * plan_.D;
    Task counted;
    for (int64_t i = 0; i < tasks; ++i) (zeros_ ? tasks_[i] : counted).take(*this, widest, arena);
  }

  void operator()(Team &team) {
    int64_t begun = 0;
    if (plan_.D == 1) {
      team.phase(groups_.count, [&](int64_t g) { run(g, 0, 0, plan_.L); }, begun);
      return;
    }
    for (int l = 0; l < plan_.L; ++l)
      team.phase(2 * groups_.count, [&](int64_t i) { run(i / 2, static_cast<int>(i % 2), l, l + 1); }, begun);
  }

  void prepare() { fill_row(zeros_, T(0), widest_); }
  int threads() const { return static_cast<int>(smaller(plan_.threads(), groups_.count * plan_.D)); }

private:
  // What a layer keeps for each row of a group while it runs.
  struct State {
    T *h, *cell, *dropped, *hidden_mask, *below;
    StepMasks<T> masks;
  };

  struct Task {
    const T **a;
    T **c;
    T *sums, *plain, *inputs, *mask, *raw, *fresh, *reset, *projected, *rows;
    uint32_t *room; // for products in bfloat16
    State *state;   // one per layer it runs

    void take(const Forward &forward, int64_t widest, Arena &arena) {
      const int64_t R = forward.groups_.most, entries = R * forward.chunk_, width = forward.widest_;
      const Plan<T> &plan = forward.plan_;
      Task pieces = {};
      pieces.a = arena.take<const T *>(entries);
      pieces.c = arena.take<T *>(entries);
      pieces.sums = arena.take<T>(entries * widest);
      pieces.plain = arena.take<T>(R * widest);
      bool composes = false;
      for (int l = 0; l < plan.L; ++l) composes = composes || plan.composes_input(l);
      pieces.inputs = composes ? arena.take<T>(entries * width) : nullptr;
      pieces.mask = arena.take<T>(width);
      pieces.raw = arena.take<T>(width);
      pieces.fresh = arena.take<T>(R * width);
      pieces.reset = arena.take<T>(R * width);
      pieces.projected = arena.take<T>(R * width);
      pieces.rows = arena.take<T>(4 * width);
      pieces.room = plan.take_room(arena);
      pieces.state = arena.take<State>(plan.L);
      for (int l = 0; l < plan.L; ++l) {
        const LayerPlan &layer = plan.layer[l];
        State s = {};
        s.h = arena.take<T>(R * layer.P);
        s.cell = layer.lstm ? arena.take<T>(R * layer.H) : nullptr;
        s.dropped = plan.drops_hidden(l) ? arena.take<T>(R * layer.P) : nullptr;
        s.hidden_mask = plan.drops_hidden(l) ? arena.take<T>(R * layer.P) : nullptr;
        s.below = !plan.save && plan.D == 1 && l < plan.L - 1 ? arena.take<T>(entries * layer.P) : nullptr;
        s.masks.take(plan, l, arena);
        if (pieces.state) pieces.state[l] = s;
      }
      *this = pieces;
    }
  };

  static constexpr int64_t kRowsOfChunk = 16 * kTileRows;

  // Where h of layer l is kept for the layers above and the backward pass; NULL for the last layer.
  T *kept_h(const Task &task, int l, int64_t s, int64_t entry) const {
    const int64_t width = plan_.D * plan_.layer[l].P;
    if (plan_.save) return plan_.hidden[l] ? plan_.hidden[l] + s * width : nullptr;
    if (below_[l]) return below_[l] + s * width;
    return task.state[l].below ? task.state[l].below + entry * width : nullptr;
  }

  void run(int64_t group, int d, int first, int end) {
    const Batch &batch = plan_.batch;
    const Task &task = tasks_[group * plan_.D + d];
    const int64_t R = groups_.size(group, batch.N);
    if (R <= 0) return;
    for (int l = first; l < end; ++l) begin(task, group, d, l, R);
    const int64_t longest = batch.length(groups_.row(batch, group, 0));
    for (int64_t p = 0; p < longest; p += chunk_) {
      const int64_t until = p + chunk_ < longest ? p + chunk_ : longest;
      for (int l = first; l < end; ++l) {
        multiply_inputs(task, group, d, l, R, p, until);
        run_steps(task, group, d, l, R, p, until);
      }
    }
    for (int l = first; l < end; ++l) finish(task, group, d, l, R);
  }

  void begin(const Task &task, int64_t group, int d, int l, int64_t R) {
    const LayerPlan &layer = plan_.layer[l];
    const State &state = task.state[l];
    const gatestack_layer &given = *layer.layer;
    state.masks.expect(plan_, l);
    for (int64_t r = 0; r < R; ++r) {
      const int64_t n = groups_.row(plan_.batch, group, r), at = d * plan_.batch.N + n;
      copy_row(state.h + r * layer.P, given.h0 ? static_cast<const T *>(given.h0) + at * layer.P : zeros_, layer.P);
      if (layer.lstm)
        copy_row(state.cell + r * layer.H, given.c0 ? static_cast<const T *>(given.c0) + at * layer.H : zeros_,
                 layer.H);
      if (state.dropped) {
        draw_hidden_mask(plan_, l, d, n, state.hidden_mask + r * layer.P);
        multiply_row(state.dropped + r * layer.P, state.h + r * layer.P, state.hidden_mask + r * layer.P, layer.P);
      }
    }
  }

  void finish(const Task &task, int64_t group, int d, int l, int64_t R) {
    const LayerPlan &layer = plan_.layer[l];
    const gatestack_layer &given = *layer.layer;
    const bool last = l == plan_.L - 1;
    for (int64_t r = 0; r < R; ++r) {
      const int64_t n = groups_.row(plan_.batch, group, r), at = d * plan_.batch.N + n;
      if (given.hn) copy_row(static_cast<T *>(given.hn) + at * layer.P, task.state[l].h + r * layer.P, layer.P);
      if (given.cn && layer.lstm)
        copy_row(static_cast<T *>(given.cn) + at * layer.H, task.state[l].cell + r * layer.H, layer.H);
      if (!plan_.call->lengths && !plan_.call->mask) continue;
      for (int64_t t = 0; t < plan_.batch.T; ++t) {
        if (is_real(*plan_.call, n, t)) continue;
        if (last && plan_.call->y) fill_row(plan_.y_row(n, t) + d * layer.P, T(0), layer.P);
        if (given.cells) fill_row(cells_row(layer, n, t, d), T(0), layer.H);
      }
    }
  }

  T *cells_row(const LayerPlan &layer, int64_t n, int64_t t, int d) const {
    return static_cast<T *>(layer.layer->cells) + ((n * plan_.batch.T + t) * plan_.D + d) * layer.H;
  }

  // The rows of sums of a step: of W x, and of U h (or of both, which add up in one row).
  T *x_sums(const Task &task, const LayerPlan &layer, int l, int d, int64_t s, int64_t entry) const {
    if (!layer.norm && plan_.save && layer.saved_width) return plan_.gates[l][d] + s * layer.width;
    return task.sums + entry * (layer.norm ? 2 * layer.G * layer.H : layer.width);
  }
  T *h_sums(const Task &task, const LayerPlan &layer, int l, int d, int64_t s, int64_t entry) const {
    if (!layer.norm) return x_sums(task, layer, l, d, s, entry) + layer.h_first;
    if (plan_.save && layer.saved_width) return plan_.gates[l][d] + s * layer.saved_width;
    return x_sums(task, layer, l, d, s, entry) + layer.G * layer.H;
  }

  // W x + b for all steps of a chunk.
  void multiply_inputs(const Task &task, int64_t group, int d, int l, int64_t R, int64_t p0, int64_t p1) {
    const LayerPlan &layer = plan_.layer[l];
    const PackedDirection<T> &packed = plan_.packed[l][d];
    const Batch &batch = plan_.batch;
    int64_t count = 0;
    for (int64_t r = 0; r < R; ++r) {
      const int64_t n = groups_.row(batch, group, r), length = batch.length(n), end = smaller(p1, length);
      for (int64_t p = p0; p < end; ++p) { // the steps of a row together: they are neighbours in memory
        const int64_t j = plan_.step_at(d, length, p), s = batch.offset[n] + j, entry = (p - p0) * R + r;
        const auto below = [&](int k) { return kept_h(task, k, s, entry); };
        T *const composed = task.inputs ? task.inputs + entry * widest_ : nullptr;
        task.a[count] = input_row(plan_, l, n, j, batch.time(n, j), composed, task.mask, below);
        task.c[count] = x_sums(task, layer, l, d, s, entry);
        ++count;
      }
    }
    packed.x.multiply(task.a, layer.norm ? zeros_ : packed.bias, layer.norm, task.c, count, task.room);
    if (layer.norm || layer.width == layer.x_columns) return;
    for (int64_t i = 0; i < count; ++i)
      copy_row(task.c[i] + layer.x_columns, packed.bias + layer.x_columns, layer.width - layer.x_columns);
  }

  void run_steps(const Task &task, int64_t group, int d, int l, int64_t R, int64_t p0, int64_t p1) {
    const LayerPlan &layer = plan_.layer[l];
    const PackedDirection<T> &packed = plan_.packed[l][d];
    const gatestack_weights &weights = layer.layer->weights[d];
    const State &state = task.state[l];
    const Batch &batch = plan_.batch;
    const int64_t H = layer.H, P = layer.P;
    const bool direct = !layer.project && !layer.zoneout_hidden; // the cell's y is the new h
    int64_t rows = R;
    for (int64_t p = p0; p < p1; ++p) {
      while (rows > 0 && batch.length(groups_.row(batch, group, rows - 1)) <= p) --rows;
      const auto number = [&](int64_t r) {
        const int64_t n = groups_.row(batch, group, r);
        return batch.offset[n] + plan_.step_at(d, batch.length(n), p);
      };
      const auto plain_row = [&](int64_t r) {
        return layer.norm ? task.plain + r * layer.width : x_sums(task, layer, l, d, number(r), (p - p0) * R + r);
      };

      for (int64_t r = 0; r < rows; ++r) {
        task.a[r] = (state.dropped ? state.dropped : state.h) + r * P;
        task.c[r] = h_sums(task, layer, l, d, number(r), (p - p0) * R + r);
      }
      packed.h.multiply(task.a, layer.norm ? zeros_ : nullptr, true, task.c, rows, task.room);
      if (layer.norm)
        for (int64_t r = 0; r < rows; ++r)
          normalise_products(layer, weights, x_sums(task, layer, l, d, number(r), (p - p0) * R + r), task.c[r],
                             plain_row(r));
      if (layer.before) {
        for (int64_t r = 0; r < rows; ++r) {
          task.c[r] = plain_row(r);
          gru_reset_forward(H, task.c[r], task.a[r], task.reset + r * H);
          task.a[r] = task.reset + r * H;
        }
        packed.h_candidate.multiply(task.a, nullptr, true, task.c, rows, task.room);
      }

      for (int64_t r = 0; r < rows; ++r) {
        const int64_t n = groups_.row(batch, group, r);
        state.masks.draw(plan_, l, d, n, number(r) - batch.offset[n]);
        T *const h = state.h + r * P, *const cell = layer.lstm ? state.cell + r * H : nullptr;
        T *const y = direct ? h : task.fresh + r * H;
        cell_forward(layer, weights, state.masks, plain_row(r), h, cell, y, task.rows);
        if (layer.zoneout_hidden && !layer.project) mix(h, y, state.masks.zoneout_hidden, P);
      }
      if (layer.project) project(task, group, d, l, rows, p);
      for (int64_t r = 0; r < rows; ++r) hand_out(task, group, d, l, r, number(r), (p - p0) * R + r);
    }
  }

  // h = w y + (1 - w) h
  static void mix(T *h, const T *y, const T *weight, int64_t n) {
    const Vector<T> one = broadcast<T>(T(1));
    each_vector<T>(n, [&](int64_t u, auto lanes) {
      const Vector<T> w = lanes.load(weight + u);
      lanes.store(h + u, fma<T>(w, lanes.load(y + u), (one - w) * lanes.load(h + u)));
    });
  }

  void project(const Task &task, int64_t group, int d, int l, int64_t rows, int64_t p) {
    const LayerPlan &layer = plan_.layer[l];
    const State &state = task.state[l];
    for (int64_t r = 0; r < rows; ++r) {
      task.a[r] = task.fresh + r * layer.H;
      task.c[r] = (layer.zoneout_hidden ? task.projected : state.h) + r * layer.P;
    }
    plan_.packed[l][d].projection.multiply(task.a, zeros_, true, task.c, rows, task.room);
    if (!layer.zoneout_hidden) return;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t n = groups_.row(plan_.batch, group, r);
      state.masks.draw(plan_, l, d, n, plan_.step_at(d, plan_.batch.length(n), p));
      mix(state.h + r * layer.P, task.projected + r * layer.P, state.masks.zoneout_hidden, layer.P);
    }
  }

  // Copies the new h and cell state of a row to whoever wants them.
  void hand_out(const Task &task, int64_t group, int d, int l, int64_t r, int64_t s, int64_t entry) {
    const LayerPlan &layer = plan_.layer[l];
    const State &state = task.state[l];
    const int64_t H = layer.H, P = layer.P, n = groups_.row(plan_.batch, group, r);
    const int64_t t = plan_.batch.time(n, s - plan_.batch.offset[n]);
    const T *const h = state.h + r * P;
    if (T *const kept = kept_h(task, l, s, entry)) copy_row(kept + d * P, h, P);
    if (layer.lstm && plan_.save) copy_row(plan_.cells[l][d] + s * H, state.cell + r * H, H);
    if (layer.layer->cells) copy_row(cells_row(layer, n, t, d), state.cell + r * H, H);
    if (state.dropped) multiply_row(state.dropped + r * P, h, state.hidden_mask + r * P, P);
    if (l < plan_.L - 1 || !plan_.call->y) return;
    T *const y = plan_.y_row(n, t) + d * P;
    copy_row(y, h, P);
    if (!layer.layer->residual) return;
    const auto below = [&](int k) { return kept_h(task, k, s, entry); };
    add_row(y, plan_.raw_input(l, n, t, task.raw, below) + d * P, P);
  }

  Plan<T> &plan_;
  Groups groups_;
  int64_t chunk_, widest_;
  T *zeros_;
  T *below_[kMostLayers];
  Task *tasks_;
};

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
