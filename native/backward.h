// The backward pass: gradients of inputs, parameters and initial states. docs/derivations/kernels.md derives it.
//
// Layer by layer from the top, and in each a chunk of steps at a time from the end. A chunk has two phases:
//
//   rows        a task per group of rows and direction: the steps of the chunk in reverse, each the element-wise
//               part and dh = dG U, leaving the gradients dG of the sums for all steps of the chunk
//   products    dW += dGᵀ x, dU += dGᵀ h', db += Σ dG, a task per tile of the result; dx = dG W, a task per block of steps
//
// A tile of a weight's gradient adds up the steps of the chunk in one order, and the chunks depend on the shapes
// alone, so the gradients do not depend on the number of threads.
#ifndef GATESTACK_BACKWARD_H
#define GATESTACK_BACKWARD_H

#include "forward.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

template <class T> class Backward {
public:
  Backward(Plan<T> &plan, int threads) : plan_(plan), groups_(plan, threads) {}

  void take_scratch(Arena &arena) {
    const int64_t N = plan_.batch.N, D = plan_.D;
    width_ = panel_width<T>();
    int64_t widest_d = 0, weights = 0, columns = 0, inner = 0;
    bool composes = false, drops = false, projects = false, resets = false, accumulates = false;
    for (int l = 0; l < plan_.L; ++l) {
      const LayerPlan &layer = plan_.layer[l];
      widest_d = larger(widest_d, layer.d_width);
      width_ = larger(larger(width_, layer.width), larger(layer.I, layer.P));
      weights = larger(weights, layer.I * layer.x_columns + layer.P * layer.h_columns + layer.H * layer.H);
      columns = larger(columns, row_gradients(layer));
      if (l > 0) inner = larger(inner, layer.I);
      composes = composes || plan_.composes_input(l);
      drops = drops || plan_.drops_hidden(l);
      projects = projects || layer.project;
      resets = resets || layer.before;
      accumulates = accumulates || row_gradients(layer) > 0;
    }
    width_ = padded_columns<T>(width_);
    // A vector more than needed: rows a power of two apart would fall into few sets of the cache.
    stride_ = padded_columns<T>(widest_d) + Lanes<T>::count;
    // A chunk of dG stays in the second-level cache, if that leaves enough entries to read and write the sums for.
    const int64_t rows = larger(N, 1);
    chunk_ = larger((int64_t(512) << 10) / (rows * D * stride_ * int64_t(sizeof(T))), kEntriesOfChunk / rows);
    chunk_ = larger(smaller(chunk_, plan_.batch.longest), 1);
    const int64_t entries = N * chunk_;

    zeros_ = arena.take<T>(width_);
    one_ = arena.take<T>(1);
    ones_ = arena.take<const T *>(entries);
    for (int d = 0; d < D; ++d) {
      Side &side = side_[d];
      side.dG = arena.take<T>(entries * stride_);
      side.x = arena.take<const T *>(entries);
      side.h = arena.take<const T *>(entries);
      side.dx = arena.take<T *>(entries);
      side.inputs = composes ? arena.take<T>(entries * width_) : nullptr;
      side.dropped = drops ? arena.take<T>(entries * width_) : nullptr;
      side.reset = resets ? arena.take<T>(entries * width_) : nullptr;
      side.outputs = projects ? arena.take<T>(entries * width_) : nullptr;
      side.d_projected = projects ? arena.take<T>(entries * width_) : nullptr;
      side.reset_rows = resets ? arena.take<const T *>(entries) : nullptr;
      side.d_projected_rows = projects ? arena.take<const T *>(entries) : nullptr;
      side.dh = arena.take<T>(N * width_);
      side.dc = arena.take<T>(N * width_);
      side.weights = arena.take<T>(weights);
      side.biases = arena.take<T>(widest_d);
      side.d_projection = projects ? arena.take<T>(width_ * width_) : nullptr;
      side.room = plan_.half ? arena.take<uint32_t>((entries + kBlock) * pairs_of(widest_d)) : nullptr;
      side.row_gradients = accumulates ? arena.take<T>(N * columns) : nullptr;
    }
    d_input_[0] = arena.take<T>(plan_.batch.S * inner);
    d_input_[1] = plan_.L > 2 ? arena.take<T>(plan_.batch.S * inner) : nullptr;
    const int64_t tasks = groups_.count * D;
    tasks_ = arena.take<Task>(tasks);
    Task counted;
    for (int64_t i = 0; i < tasks; ++i) (zeros_ ? tasks_[i] : counted).take(*this, arena);
  }

  // Fills what stays the same during the call.
  void prepare() {
    fill_row(zeros_, T(0), width_);
    *one_ = T(1);
    const int64_t entries = plan_.batch.N * chunk_;
    for (int64_t k = 0; k < entries; ++k) {
      ones_[k] = one_;
      for (int d = 0; d < plan_.D; ++d) {
        if (side_[d].reset) side_[d].reset_rows[k] = side_[d].reset + k * width_;
        if (side_[d].d_projected) side_[d].d_projected_rows[k] = side_[d].d_projected + k * width_;
      }
    }
  }

  void operator()(Team &team) {
    int64_t begun = 0;
    const int64_t longest = plan_.batch.longest;
    for (int l = plan_.L - 1; l >= 0; --l) {
      const int64_t chunks = (longest + chunk_ - 1) / chunk_, groups = groups_.count * plan_.D;
      team.phase(groups, [&](int64_t i) { begin(l, static_cast<int>(i % plan_.D), i / plan_.D); }, begun);
      for (int64_t c = chunks - 1; c >= 0; --c) {
        const Chunk chunk = {l, c * chunk_, (c + 1) * chunk_ < longest ? (c + 1) * chunk_ : longest,
                             c == chunks - 1, entries_before(plan_.batch.N, c * chunk_, (c + 1) * chunk_)};
        team.phase(groups, [&](int64_t i) { run_rows(chunk, static_cast<int>(i % plan_.D), i / plan_.D); }, begun);
        const Products products(*this, chunk);
        // Both directions add to the same dx, so they come one after the other.
        for (int d = 0; d < plan_.D; ++d) {
          const int64_t sums = d == 0 ? products.count() : 0, blocks = input_blocks(chunk);
          team.phase(blocks + sums, [&](int64_t i) {
            if (i < blocks) multiply_input_block(chunk, d, i);
            else products.run(i - blocks);
          }, begun);
        }
      }
      team.phase(groups + plan_.D, [&](int64_t i) {
        if (i < groups) finish(l, static_cast<int>(i % plan_.D), i / plan_.D);
        else hand_out_weights(l, static_cast<int>(i - groups), chunks > 0);
      }, begun);
    }
  }

private:
  // What the rows of one direction leave for the products: entry k of a chunk is step p of a row, rows in the order
  // of the batch and the steps of a row together.
  struct Side {
    T *dG;           // [entries][stride_]
    const T **x, **h; // inputs and h' of the entries
    T **dx;          // where their gradients go
    T *inputs, *dropped, *reset, *outputs, *d_projected; // [entries][width_], where such rows must be composed
    const T **reset_rows, **d_projected_rows;            // pointers to them
    T *dh, *dc;      // [N][width_], gradients of the states
    T *weights;      // dWᵀ [I][x_columns], dUᵀ [P][h_columns], reset before: dU_nᵀ [H][H]
    T *biases;       // [d_width]
    T *d_projection; // [P][H]
    T *row_gradients; // [N][row_gradients(layer)]
    uint32_t *room;   // for dx in bfloat16
  };

  struct Chunk {
    int l;
    int64_t p0, p1;
    bool first;
    int64_t entries;
  };

  // Scratch of one group and direction.
  struct Task {
    const T **a;
    T **c;
    int64_t *base; // entry of step p0 of each row
    T *mask, *raw, *plain, *cell, *trash, *kept, *dy, *row, *hidden_mask;
    uint32_t *room; // for products in bfloat16
    StepMasks<T> *masks;

    void take(const Backward &backward, Arena &arena) {
      const int64_t R = backward.groups_.most, width = backward.width_, entries = R * (backward.chunk_ + 1);
      const Plan<T> &plan = backward.plan_;
      Task pieces = {};
      pieces.a = arena.take<const T *>(entries);
      pieces.c = arena.take<T *>(entries);
      pieces.base = arena.take<int64_t>(R);
      pieces.mask = arena.take<T>(width);
      pieces.raw = arena.take<T>(width);
      pieces.plain = arena.take<T>(width);
      pieces.cell = arena.take<T>(width);
      pieces.trash = arena.take<T>(width);
      pieces.kept = arena.take<T>(R * width);
      pieces.dy = arena.take<T>(R * width);
      pieces.row = arena.take<T>(4 * width);
      pieces.hidden_mask = arena.take<T>(R * width);
      pieces.room = plan.take_room(arena);
      pieces.masks = arena.take<StepMasks<T>>(plan.L);
      for (int l = 0; l < plan.L; ++l) {
        StepMasks<T> masks;
        masks.take(plan, l, arena);
        if (pieces.masks) pieces.masks[l] = masks;
      }
      *this = pieces;
    }
  };

  // Gradients that come row by row, because their sums need more than dG: per row of the batch
  // peephole [3][H], gain_cell [H], bias_cell [H], gain_input, bias_input, gain_hidden, bias_hidden [G H].
  static int64_t row_gradients(const LayerPlan &layer) {
    const int64_t of_cell = layer.lstm && (layer.norm || layer.layer->weights[0].peephole) ? 5 * layer.H : 0;
    return of_cell + (layer.norm ? 4 * layer.G * layer.H : 0);
  }

  T *row_gradient(const LayerPlan &layer, int d, int64_t n) const {
    return side_[d].row_gradients + n * row_gradients(layer);
  }

  const gatestack_weights *gradients(int l, int d) const {
    const gatestack_weights *const all = plan_.layer[l].layer->gradients;
    return all ? all + d : nullptr;
  }

  // Entries of the rows before row n in the chunk [p0, p1).
  int64_t entries_before(int64_t n, int64_t p0, int64_t p1) const {
    int64_t count = 0;
    for (int64_t m = 0; m < n; ++m) {
      const int64_t length = plan_.batch.length(m), end = length < p1 ? length : p1;
      if (end > p0) count += end - p0;
    }
    return count;
  }

  // Gradient of the output of layer l at step s of all steps, for both directions, or NULL for zeros.
  const T *d_output(int l, int64_t n, int64_t t, int64_t s) const {
    if (l < plan_.L - 1) return d_input_[(l + 1) % 2 == 0 && d_input_[1] ? 1 : 0] + s * plan_.layer[l + 1].I;
    const gatestack_call &call = *plan_.call;
    return call.grad_y ? static_cast<const T *>(call.grad_y) + n * call.grad_y_batch + t * call.grad_y_step : nullptr;
  }

  // Where the gradient of the input of layer l goes, or NULL.
  T *d_input(int l, int64_t n, int64_t t, int64_t s) const {
    if (l > 0) return d_input_[l % 2 == 0 && d_input_[1] ? 1 : 0] + s * plan_.layer[l].I;
    const gatestack_call &call = *plan_.call;
    return call.grad_x ? static_cast<T *>(call.grad_x) + n * call.grad_x_batch + t * call.grad_x_step : nullptr;
  }
  bool wants_input(int l) const { return l > 0 || plan_.call->grad_x; }

  // h and c before step p of row n.
  const T *h_before(int l, int d, int64_t n, int64_t p) const {
    const LayerPlan &layer = plan_.layer[l];
    if (p == 0) {
      const T *const h0 = static_cast<const T *>(layer.layer->h0);
      return h0 ? h0 + (d * plan_.batch.N + n) * layer.P : zeros_;
    }
    const int64_t j = plan_.step_at(d, plan_.batch.length(n), p - 1), s = plan_.batch.offset[n] + j;
    if (plan_.hidden[l]) return plan_.hidden[l] + (s * plan_.D + d) * layer.P;
    return plan_.y_row(n, plan_.batch.time(n, j)) + d * layer.P;
  }
  const T *c_before(int l, int d, int64_t n, int64_t p) const {
    const LayerPlan &layer = plan_.layer[l];
    if (p == 0) {
      const T *const c0 = static_cast<const T *>(layer.layer->c0);
      return c0 ? c0 + (d * plan_.batch.N + n) * layer.H : zeros_;
    }
    const int64_t j = plan_.step_at(d, plan_.batch.length(n), p - 1);
    return plan_.cells[l][d] + (plan_.batch.offset[n] + j) * layer.H;
  }

  // The states' gradients at the end, and zeros where sums will grow.
  void begin(int l, int d, int64_t group) {
    const LayerPlan &layer = plan_.layer[l];
    const gatestack_layer &given = *layer.layer;
    const Batch &batch = plan_.batch;
    for (int64_t r = 0; r < groups_.size(group, batch.N); ++r) {
      const int64_t n = groups_.row(batch, group, r), at = d * batch.N + n;
      copy_row(side_[d].dh + n * width_,
               given.grad_hn ? static_cast<const T *>(given.grad_hn) + at * layer.P : zeros_, layer.P);
      if (layer.lstm)
        copy_row(side_[d].dc + n * width_,
                 given.grad_cn ? static_cast<const T *>(given.grad_cn) + at * layer.H : zeros_, layer.H);
      if (row_gradients(layer)) fill_row(row_gradient(layer, d, n), T(0), row_gradients(layer));
      if (plan_.D == 1 || d == 1 || !wants_input(l)) continue;
      for (int64_t j = 0; j < batch.length(n); ++j)
        fill_row(d_input(l, n, batch.time(n, j), batch.offset[n] + j), T(0), layer.I);
    }
    const Task &task = tasks_[group * plan_.D + d];
    task.masks[l].expect(plan_, l);
  }

  void run_rows(const Chunk &chunk, int d, int64_t group) {
    const int l = chunk.l;
    const LayerPlan &layer = plan_.layer[l];
    const Batch &batch = plan_.batch;
    const Task &task = tasks_[group * plan_.D + d];
    int64_t R = groups_.size(group, batch.N);
    while (R > 0 && batch.length(groups_.row(batch, group, R - 1)) <= chunk.p0) --R;
    if (R == 0) return;
    for (int64_t r = 0; r < R; ++r) {
      const int64_t n = groups_.row(batch, group, r);
      task.base[r] = entries_before(n, chunk.p0, chunk.p1);
      if (plan_.drops_hidden(l)) draw_hidden_mask(plan_, l, d, n, task.hidden_mask + r * width_);
    }
    list_entries(chunk, d, group, R);
    if (layer.norm || plan_.recompute) restore(chunk, d, group, R);
    int64_t rows = 0;
    for (int64_t p = chunk.p1 - 1; p >= chunk.p0; --p) {
      while (rows < R && batch.length(groups_.row(batch, group, rows)) > p) ++rows;
      if (rows > 0) run_step(chunk, d, group, rows, p);
    }
  }

  // Inputs, h' and the place of dx for every entry of the chunk.
  void list_entries(const Chunk &chunk, int d, int64_t group, int64_t R) {
    const int l = chunk.l;
    const LayerPlan &layer = plan_.layer[l];
    const Batch &batch = plan_.batch;
    const Task &task = tasks_[group * plan_.D + d];
    const Side &side = side_[d];
    for (int64_t r = 0; r < R; ++r) {
      const int64_t n = groups_.row(batch, group, r), length = batch.length(n);
      const int64_t end = length < chunk.p1 ? length : chunk.p1;
      for (int64_t p = chunk.p0; p < end; ++p) {
        const int64_t k = task.base[r] + p - chunk.p0, j = plan_.step_at(d, length, p), s = batch.offset[n] + j;
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

  // The sums of a chunk once more, into dG: they were not saved.
  void restore(const Chunk &chunk, int d, int64_t group, int64_t R) {
    const LayerPlan &layer = plan_.layer[chunk.l];
    const PackedDirection<T> &packed = plan_.packed[chunk.l][d];
    const Batch &batch = plan_.batch;
    const Task &task = tasks_[group * plan_.D + d];
    const Side &side = side_[d];
    int64_t count = 0;
    const auto each = [&](auto body) {
      for (int64_t r = 0; r < R; ++r) {
        const int64_t length = batch.length(groups_.row(batch, group, r));
        const int64_t end = length < chunk.p1 ? length : chunk.p1;
        for (int64_t k = task.base[r]; k < task.base[r] + end - chunk.p0; ++k) body(k);
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

  // One step back for the rows that have it.
  void run_step(const Chunk &chunk, int d, int64_t group, int64_t rows, int64_t p) {
    const int l = chunk.l;
    const LayerPlan &layer = plan_.layer[l];
    const PackedDirection<T> &packed = plan_.packed[l][d];
    const Batch &batch = plan_.batch;
    const Task &task = tasks_[group * plan_.D + d];
    const Side &side = side_[d];
    const int64_t P = layer.P;
    const bool apart = plan_.drops_hidden(l); // the gradient of the dropped h' comes first
    const auto entry = [&](int64_t r) { return task.base[r] + p - chunk.p0; };

    for (int64_t r = 0; r < rows; ++r) {
      const int64_t n = groups_.row(batch, group, r), j = plan_.step_at(d, batch.length(n), p);
      const int64_t s = batch.offset[n] + j, t = batch.time(n, j);
      T *const dh = side.dh + n * width_;
      if (p > 0) fetch_ahead(l, d, n, p - 1);
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
    if (layer.before) reset_back(chunk, d, task, rows, p);
    packed.h_back.multiply(task.a, nullptr, true, task.c, rows, task.room);
    if (!apart) return;
    for (int64_t r = 0; r < rows; ++r) {
      multiply_row(task.c[r], task.c[r], task.hidden_mask + r * width_, P);
      add_row(side.dh + groups_.row(batch, group, r) * width_, task.c[r], P);
    }
  }

  // Asks for what step p of a row will read, a whole step of the group ahead. The rows of a group are far apart in
  // memory, more of them than the processor's own prefetchers follow.
  void fetch_ahead(int l, int d, int64_t n, int64_t p) const {
    const LayerPlan &layer = plan_.layer[l];
    const int64_t j = plan_.step_at(d, plan_.batch.length(n), p), s = plan_.batch.offset[n] + j;
    if (plan_.gates[l][d]) fetch_row(plan_.gates[l][d] + s * layer.saved_width, layer.saved_width);
    if (layer.lstm) fetch_row(c_before(l, d, n, p), layer.H);
    else fetch_row(h_before(l, d, n, p), layer.P);
    if (const T *const dy = d_output(l, n, plan_.batch.time(n, j), s)) fetch_row(dy + d * layer.P, layer.P);
  }
  static void fetch_row(const T *row, int64_t n) {
    const char *const end = reinterpret_cast<const char *>(row + n);
    for (const char *line = reinterpret_cast<const char *>(row); line < end; line += 64) __builtin_prefetch(line);
  }

  // kept = (1 - w) dh, dh = w dh
  static void split(T *dh, T *kept, const T *weight, int64_t n) {
    const Vector<T> one = broadcast<T>(T(1));
    each_vector<T>(n, [&](int64_t u, auto lanes) {
      const Vector<T> w = lanes.load(weight + u), d = lanes.load(dh + u);
      lanes.store(kept + u, (one - w) * d);
      lanes.store(dh + u, w * d);
    });
  }

  // The element-wise part of one step of one row: from dy, dG of the entry, and in dh what h' receives without a
  // product (zero but for the GRU). dy may be dh.
  void step_of_row(const Chunk &chunk, int d, const Task &task, int64_t n, int64_t k, int64_t p, const T *dy, T *dh) {
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
      if (layer.project) output_of_row(layer, weights, masks, gates, before_c, task, side.outputs + k * width_);
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

  static LSTMOptions<T> lstm_options(const LayerPlan &layer, const gatestack_weights &weights, const StepMasks<T> &masks,
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

  static void backward_lstm(const LayerPlan &layer, const gatestack_weights &weights, const StepMasks<T> &masks,
                            const T *gates, const T *before, const T *dy, T *dc, T *d_sums, T *grad, T *rows) {
    const LSTMOptions<T> options = lstm_options(layer, weights, masks, grad, rows);
    if (layer.plain) lstm_backward<T, true>(layer.H, gates, before, dy, dc, d_sums, options);
    else lstm_backward<T, false>(layer.H, gates, before, dy, dc, d_sums, options);
  }

  // y = o tanh(n(c)) of a row again, the operand of the projection's gradient.
  static void output_of_row(const LayerPlan &layer, const gatestack_weights &weights, const StepMasks<T> &masks,
                            const T *gates, const T *before, const Task &task, T *y) {
    const LSTMOptions<T> options = lstm_options(layer, weights, masks, nullptr, task.row);
    lstm_output(layer.H, gates, before, y, options);
  }

  // Reset before: through U_n to r and h'. The product with U_r, U_z follows for task.a and task.c as they are.
  void reset_back(const Chunk &chunk, int d, const Task &task, int64_t rows, int64_t p) {
    const LayerPlan &layer = plan_.layer[chunk.l];
    const Side &side = side_[d];
    const int64_t H = layer.H;
    const T **const a = task.a + rows;
    T **const c = task.c + rows;
    for (int64_t r = 0; r < rows; ++r) {
      a[r] = side.dG + (task.base[r] + p - chunk.p0) * stride_;
      c[r] = task.kept + r * width_;
    }
    plan_.packed[chunk.l][d].h_candidate_back.multiply(a, zeros_, true, c, rows, task.room);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t k = task.base[r] + p - chunk.p0;
      T *const d_reset = side.dG + k * stride_ + H; // holds r
      gru_reset_backward(H, d_reset, side.h[k], c[r], d_reset, task.c[r]);
    }
  }

  // dx = dG W for a block of entries.
  static constexpr int64_t kBlock = kRowsInRoom;
  int64_t input_blocks(const Chunk &chunk) const {
    return wants_input(chunk.l) ? (chunk.entries + kBlock - 1) / kBlock : 0;
  }
  void multiply_input_block(const Chunk &chunk, int d, int64_t block) const {
    const LayerPlan &layer = plan_.layer[chunk.l];
    const T *a[kBlock];
    const int64_t first = block * kBlock;
    const int64_t count = first + kBlock < chunk.entries ? kBlock : chunk.entries - first;
    for (int64_t i = 0; i < count; ++i) a[i] = side_[d].dG + (first + i) * stride_;
    uint32_t *const room = plan_.half ? side_[d].room + block * kBlock * pairs_of(layer.x_columns) : nullptr;
    plan_.packed[chunk.l][d].x_back.multiply(a, plan_.D == 1 ? zeros_ : nullptr, true, side_[d].dx + first, count, room);
  }

  // A sum over the entries of a chunk: c [rows][columns] += aᵀ b.
  struct Sum {
    const T *const *a; // a row per entry
    const T *b;        // a row per entry, b_stride apart
    int64_t b_stride, rows, columns;
    T *c;
    // Rows are cut into equal parts of at most kRowsOfTask.
    int64_t parts() const { return (rows + kRowsOfTask - 1) / kRowsOfTask; }
    int64_t rows_of_task() const { return (rows + parts() - 1) / parts(); }
    int64_t strips() const { return (columns + kPanelsOfTask * panel_width<T>() - 1) / (kPanelsOfTask * panel_width<T>()); }
  };
  static constexpr int64_t kRowsOfTask = 16 * kTileRows;
  static constexpr int64_t kPanelsOfTask = 2;
  static constexpr int64_t kEntriesOfChunk = 512;
  static constexpr int64_t kEntriesAtOnce = 64; // the copy of one operand and a panel of the other fit in the first-level cache

  // All such sums of a chunk, as a list of tasks: a panel of columns, some rows.
  class Products {
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
      backward_.add_up(sum, chunk_, task % sum.strips() * kPanelsOfTask * panel_width<T>(),
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

  // The left operand is copied, a few entries at a time: its rows are a stride of the layer's choosing apart, and where
  // that is a power of two they would fall into few sets of the first-level cache.
  void add_up(const Sum &sum, const Chunk &chunk, int64_t first_column, int64_t first_row) const {
    constexpr int64_t kPanel = panel_width<T>();
    alignas(64) T a[kEntriesAtOnce * kRowsOfTask];
    const T *a_rows[kEntriesAtOnce];
    T *c[kRowsOfTask];
    const int64_t rows = smaller(sum.rows - first_row, sum.rows_of_task());
    const int64_t end = smaller(first_column + kPanelsOfTask * kPanel, sum.columns);
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

  // What is left of a layer when its last chunk is done: gradients of the initial states, the part of dx that does
  // not come from the products, zeros where a step is not real.
  void finish(int l, int d, int64_t group) {
    const LayerPlan &layer = plan_.layer[l];
    const gatestack_layer &given = *layer.layer;
    const Batch &batch = plan_.batch;
    const Task &task = tasks_[group * plan_.D + d];
    for (int64_t r = 0; r < groups_.size(group, batch.N); ++r) {
      const int64_t n = groups_.row(batch, group, r), at = d * batch.N + n;
      if (given.grad_h0)
        copy_row(static_cast<T *>(given.grad_h0) + at * layer.P, side_[d].dh + n * width_, layer.P);
      if (given.grad_c0 && layer.lstm)
        copy_row(static_cast<T *>(given.grad_c0) + at * layer.H, side_[d].dc + n * width_, layer.H);
      if (d == 1 || !wants_input(l)) continue;
      if (l == 0 && (plan_.call->lengths || plan_.call->mask))
        for (int64_t t = 0; t < batch.T; ++t)
          if (!is_real(*plan_.call, n, t)) fill_row(d_input(l, n, t, 0), T(0), layer.I);
      if (!plan_.drops_input(l) && !given.residual) continue;
      for (int64_t j = 0; j < batch.length(n); ++j) {
        const int64_t t = batch.time(n, j), s = batch.offset[n] + j;
        T *const dx = d_input(l, n, t, s);
        if (plan_.drops_input(l)) {
          draw_input_mask(plan_, l, n, j, task.mask);
          multiply_row(dx, dx, task.mask, layer.I);
        }
        const T *const dy = given.residual ? d_output(l, n, t, s) : nullptr;
        if (dy) add_row(dx, dy, layer.I);
      }
    }
  }

  // The sums of one direction in torch's layout. Without any step they are zeros.
  void hand_out_weights(int l, int d, bool any) const {
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

  // to [columns][rows] = fromᵀ, column n of `from` having come from row (n - shift) mod columns.
  static void transpose(bool any, const T *from, int64_t rows, int64_t columns, int64_t shift, T *to) {
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

  void add_up_rows(const LayerPlan &layer, int d, int64_t first, int64_t count, void *to) const {
    T *const sum = static_cast<T *>(to);
    if (!sum) return;
    fill_row(sum, T(0), count);
    for (int64_t n = 0; n < plan_.batch.N; ++n) add_row(sum, row_gradient(layer, d, n) + first, count);
  }

  Plan<T> &plan_;
  Groups groups_;
  int64_t chunk_, width_, stride_; // steps of a chunk; columns of the widest row; distance of rows of dG
  T *zeros_, *one_;
  const T **ones_;
  Side side_[2];
  T *d_input_[2];
  Task *tasks_;
};

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
