// A group of rows of the batch that one task computes together, and what every step of a row needs to know.
#ifndef GATESTACK_ROWS_H
#define GATESTACK_ROWS_H

#include "dropout.h"
#include "plan.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

// Rows are dealt to the groups in turn, longest first, so that groups of ragged rows have about the same work.
struct Groups {
  int64_t count, most; // groups, rows in the largest

  template <class T> explicit Groups(const Plan<T> &plan) {
    // Two groups a thread leave something to take over from a thread that is held up, once each has rows for two
    // full tiles; but each group reads the weights anew, so these must fit in the second-level cache.
    const int64_t rows = plan.call->batch, threads = plan.threads();
    int64_t weights = 0;
    for (int l = 0; l < plan.L; ++l) weights = larger(weights, plan.layer[l].P * plan.layer[l].h_columns);
    const bool small = weights * int64_t(sizeof(T)) <= int64_t(1) << 20;
    count = small && rows >= 4 * kTileRows * threads ? 2 * threads : threads;
    if (count > rows) count = rows > 0 ? rows : 1;
    most = (rows + count - 1) / count;
  }
  int64_t size(int64_t group, int64_t rows) const { return (rows - group + count - 1) / count; }
  int64_t row(const Batch &batch, int64_t group, int64_t r) const { return batch.order[group + r * count]; }
};

// The masks of one direction of one layer that change with every step. They are drawn into one row each and used
// before the next is drawn.
template <class T> struct StepMasks {
  T *candidate, *zoneout_hidden, *zoneout_cell; // rows, or NULL where the option is off

  void take(const Plan<T> &plan, int l, Arena &arena) {
    const LayerPlan &layer = plan.layer[l];
    candidate = layer.candidate_mask ? arena.take<T>(layer.H) : nullptr;
    zoneout_hidden = layer.zoneout_hidden ? arena.take<T>(layer.P) : nullptr;
    zoneout_cell = layer.zoneout_cell ? arena.take<T>(layer.H) : nullptr;
  }
  // The expected values, for evaluation.
  void expect(const Plan<T> &plan, int l) const {
    const LayerPlan &layer = plan.layer[l];
    if (zoneout_hidden) fill_row(zoneout_hidden, T(1.0 - layer.layer->zoneout_hidden), layer.P);
    if (zoneout_cell) fill_row(zoneout_cell, T(1.0 - layer.layer->zoneout_cell), layer.H);
  }
  void draw(const Plan<T> &plan, int l, int d, int64_t row, int64_t step) const {
    if (!plan.training) return;
    const LayerPlan &layer = plan.layer[l];
    const gatestack_layer &options = *layer.layer;
    const uint64_t seed = plan.call->seed;
    if (candidate) {
      const T kept = T(1.0 / (1.0 - options.candidate_dropout));
      draw_mask(MaskKey(seed, kCandidateMask, l, d, options.candidate_dropout), row, step, layer.H, kept, T(0),
                candidate);
    }
    if (zoneout_hidden)
      draw_mask(MaskKey(seed, kZoneoutHiddenMask, l, d, options.zoneout_hidden), row, step, layer.P, T(1), T(0),
                zoneout_hidden);
    if (zoneout_cell)
      draw_mask(MaskKey(seed, kZoneoutCellMask, l, d, options.zoneout_cell), row, step, layer.H, T(1), T(0),
                zoneout_cell);
  }
};

template <class T> inline void draw_hidden_mask(const Plan<T> &plan, int l, int d, int64_t row, T *out) {
  const double p = plan.layer[l].layer->hidden_dropout;
  draw_mask(MaskKey(plan.call->seed, kHiddenMask, l, d, p), row, 0, plan.layer[l].P, T(1.0 / (1.0 - p)), T(0), out);
}

template <class T> inline void draw_input_mask(const Plan<T> &plan, int l, int64_t row, int64_t step, T *out) {
  const gatestack_layer &layer = *plan.layer[l].layer;
  const double p = layer.input_dropout;
  draw_mask(MaskKey(plan.call->seed, kInputMask, l, 0, p), row, layer.input_dropout_per_step ? step : 0,
            plan.layer[l].I, T(1.0 / (1.0 - p)), T(0), out);
}

// The input of layer l at step j of row n as its product takes it; composed in `row` where it is not one already.
// `mask` is scratch, as wide as the input.
template <class T, class Below>
inline const T *input_row(const Plan<T> &plan, int l, int64_t n, int64_t j, int64_t t, T *row, T *mask, Below below) {
  const T *const raw = plan.raw_input(l, n, t, row, below);
  if (!plan.drops_input(l)) return raw;
  draw_input_mask(plan, l, n, j, mask);
  multiply_row(row, raw, mask, plan.layer[l].I);
  return row;
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
