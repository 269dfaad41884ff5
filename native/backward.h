// The backward pass: gradients of inputs, parameters and initial states. docs/derivations/kernels.md derives it.
//
// Layer by layer from the top, and in each a chunk of steps at a time from the end. A chunk has two phases:
//
//   rows        a task per group of rows and direction: the steps of the chunk in reverse, each the element-wise
//               part and dh = dG U, leaving the gradients dG of the sums for all steps of the chunk
//   products    dW += dGᵀ x, dU += dGᵀ h', db += Σ dG, a task per tile of the result; dx = dG W, a task per block
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
  explicit Backward(Plan<T> &plan) : plan_(plan), groups_(plan) {}

  void take_scratch(Arena &arena) {
    const int64_t N = plan_.batch.N, D = plan_.D;
    width_ = panel_width<T>();
    int64_t widest_d = 0, weights = 0, columns = 0, inner = 0, projection = 0;
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
      projection = larger(projection, layer.P * layer.H);
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
      side.d_projection = projects ? arena.take<T>(projection) : nullptr;
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

  int threads() const { return plan_.threads(); }

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
        Chunk chunk = {l, c * chunk_, smaller((c + 1) * chunk_, longest), c == chunks - 1, 0};
        for (int64_t n = 0; n < plan_.batch.N; ++n) chunk.entries += entries_of(n, chunk);
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
    int64_t *base; // [N], the first entry of each row in the chunk
    T *mask, *raw, *plain, *cell, *trash, *kept, *dy, *row, *hidden_mask;
    uint32_t *room; // for products in bfloat16
    StepMasks<T> *masks;

    void take(const Backward &backward, Arena &arena) {
      const int64_t R = backward.groups_.most, width = backward.width_, entries = R * (backward.chunk_ + 1);
      const Plan<T> &plan = backward.plan_;
      Task pieces = {};
      pieces.a = arena.take<const T *>(entries);
      pieces.c = arena.take<T *>(entries);
      pieces.base = arena.take<int64_t>(plan.batch.N);
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

  int64_t entries_of(int64_t n, const Chunk &chunk) const {
    return larger(smaller(plan_.batch.length(n), chunk.p1) - chunk.p0, 0);
  }
  // The number of each row's first entry in the chunk.
  void number_entries(const Chunk &chunk, int64_t *first) const {
    for (int64_t n = 0, count = 0; n < plan_.batch.N; ++n) {
      first[n] = count;
      count += entries_of(n, chunk);
    }
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

  void run_rows(const Chunk &chunk, int d, int64_t group);

  // Inputs, h' and the place of dx for every entry of the chunk.
  void list_entries(const Chunk &chunk, int d, int64_t group, int64_t R);

  // The sums of a chunk once more, into dG: they were not saved.
  void restore(const Chunk &chunk, int d, int64_t group, int64_t R);

  // One step back for the rows that have it.
  void run_step(const Chunk &chunk, int d, int64_t group, int64_t rows, int64_t p);

  // Asks for what step p of a row will read, two steps of the group ahead. The rows of a group are far apart in
  // memory, more of them than the processor's own prefetchers follow.
  void fetch_ahead(int l, int d, int64_t n, int64_t p) const;
  // The element-wise part of one step of one row: from dy, dG of the entry, and in dh what h' receives without a
  // product (zero but for the GRU). dy may be dh.
  void step_of_row(const Chunk &chunk, int d, const Task &task, int64_t n, int64_t k, int64_t p, const T *dy, T *dh);

  // Reset before: through U_n to r and h'. The product with U_r, U_z follows for task.a and task.c as they are.
  void reset_back(const Chunk &chunk, int d, int64_t group, int64_t rows, int64_t p);

  // dx = dG W for a block of entries.
  static constexpr int64_t kBlock = kRowsInRoom;
  int64_t input_blocks(const Chunk &chunk) const {
    return wants_input(chunk.l) ? (chunk.entries + kBlock - 1) / kBlock : 0;
  }
  void multiply_input_block(const Chunk &chunk, int d, int64_t block) const;
  // A sum over the entries of a chunk: c [rows][columns] += aᵀ b.
  struct Sum {
    const T *const *a; // a row per entry
    const T *b;        // a row per entry, b_stride apart
    int64_t b_stride, rows, columns;
    T *c;
    // Rows are cut into equal parts of at most kRowsOfTask.
    int64_t parts() const { return (rows + kRowsOfTask - 1) / kRowsOfTask; }
    int64_t rows_of_task() const { return (rows + parts() - 1) / parts(); }
    int64_t strips() const { return (columns + kStrip - 1) / kStrip; }
  };
  static constexpr int64_t kRowsOfTask = 16 * kTileRows;
  static constexpr int64_t kStrip = 2 * panel_width<T>();
  static constexpr int64_t kEntriesOfChunk = 512;
  static constexpr int64_t kEntriesAtOnce = 64; // one operand's copy and the other's panel fit in the first-level cache

  class Products;

  // The left operand is copied, a few entries at a time: its rows are a stride of the layer's choosing apart, and where
  // that is a power of two they would fall into few sets of the first-level cache.
  void add_up(const Sum &sum, const Chunk &chunk, int64_t first_column, int64_t first_row) const;
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
  void hand_out_weights(int l, int d, bool any) const;
  void add_up_rows(const LayerPlan &layer, int d, int64_t first, int64_t count, void *to) const;
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
