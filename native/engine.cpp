// The kernels for one instruction set; compiled once for each, GATESTACK_ENGINE naming it.
#include "engine.h"

#include "backward_rows.h"
#include "backward_sums.h"
#include "conv_lstm_pointwise.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

namespace {

template <class T> void pack_all(const gatestack_call &call) {
  Plan<T> plan;
  plan.set(call);
  Arena arena(call.packed);
  plan.take_packed(arena);
  for (int l = 0; l < plan.L; ++l)
    for (int d = 0; d < plan.D; ++d) pack_forward(plan.layer[l], call.layers[l].weights[d], plan.packed[l][d]);
}

template <class T> void measure(const gatestack_call &call, gatestack_bytes &bytes) {
  Plan<T> plan;
  plan.set(call);
  bytes = gatestack_bytes();
  Arena packed(nullptr), saved(nullptr), forward_scratch(nullptr), backward_scratch(nullptr);
  plan.take_packed(packed);
  bytes.packed = packed.used();
  plan.batch = read_batch(call, forward_scratch, false);
  Forward<T> forward(plan);
  forward.take_scratch(forward_scratch);
  bytes.scratch_forward = forward_scratch.used();
  if (!plan.save) return;
  plan.take_saved(saved);
  bytes.saved = saved.used();
  read_batch(call, backward_scratch, false);
  plan.take_packed_backward(backward_scratch);
  Backward<T> backward(plan);
  backward.take_scratch(backward_scratch);
  bytes.scratch_backward = backward_scratch.used();
}

// One pass over the batch: what both passes set up in the same way.
template <class Pass> void run_pass(Pass &pass, Arena &scratch) {
  pass.take_scratch(scratch);
  pass.prepare();
  run_team(pass.threads(), pass);
}

template <class T> void set_up(Plan<T> &plan, const gatestack_call &call, Arena &scratch) {
  plan.set(call);
  plan.batch = read_batch(call, scratch, true);
  Arena packed(call.packed), saved(call.saved);
  plan.take_packed(packed);
  if (plan.save) plan.take_saved(saved);
}

template <class T> void run_forward(const gatestack_call &call) {
  Plan<T> plan;
  Arena scratch(call.scratch);
  set_up(plan, call, scratch);
  Forward<T> forward(plan);
  run_pass(forward, scratch);
}

template <class T> void run_backward(const gatestack_call &call) {
  Plan<T> plan;
  Arena scratch(call.scratch);
  set_up(plan, call, scratch);
  plan.take_packed_backward(scratch);
  for (int l = 0; l < plan.L; ++l)
    for (int d = 0; d < plan.D; ++d) pack_backward(plan.layer[l], call.layers[l].weights[d], plan.packed[l][d]);
  Backward<T> backward(plan);
  run_pass(backward, scratch);
}

template <class T> void activate(int function, const T *x, T *out, int64_t count) {
  if (function == 0) sigmoid_row(x, out, count);
  else tanh_row(x, out, count);
}

void draw(uint64_t seed, int32_t kind, int32_t layer, int32_t direction, int64_t rows, int64_t steps, int64_t units,
          double probability, uint8_t *out) {
  const MaskKey key(seed, kind, layer, direction, probability);
  float row[1024];
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t t = 0; t < steps; ++t)
      for (int64_t u = 0; u < units; u += 1024) {
        const int64_t count = units - u < 1024 ? units - u : 1024;
        draw_mask_from<float>(key, n, t, u, count, 1.0f, 0.0f, row);
        for (int64_t i = 0; i < count; ++i) out[(n * steps + t) * units + u + i] = row[i] != 0.0f;
      }
}

// Independent chains of multiply-adds on registers; returns their number, and keeps the compiler from leaving them out.
template <class T> int64_t multiply_add(int64_t rounds, T *out) {
  constexpr int kChains = 12; // 2 units · 4 cycles of latency, and some
  Vector<T> sum[kChains];
  const Vector<T> a = broadcast<T>(T(0.999)), b = broadcast<T>(T(0.001));
  for (int i = 0; i < kChains; ++i) sum[i] = broadcast<T>(T(i));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sum[i] = fma<T>(sum[i], a, b);
  }
  for (int i = 0; i < kChains; ++i) store(out, load(out) + sum[i]);
  return rounds * kChains * Lanes<T>::count;
}

int64_t multiply_add_any(int dtype, int64_t rounds) {
  double out[kVectorBytes / sizeof(double)] = {};
  return dtype == GATESTACK_FLOAT64 ? multiply_add<double>(rounds, out)
                                    : multiply_add<float>(rounds, reinterpret_cast<float *>(out));
}

} // namespace

extern const Engine engine;
const Engine engine = {
    {measure<float>, measure<double>},
    {pack_all<float>, pack_all<double>},
    {run_forward<float>, run_forward<double>},
    {run_backward<float>, run_backward<double>},
    {conv_lstm_forward<float>, conv_lstm_forward<double>},
    {conv_lstm_backward<float>, conv_lstm_backward<double>},
    activate<float>,
    activate<double>,
    draw,
    multiply_add_any,
    has_fast_bfloat16,
};

} // namespace GATESTACK_ENGINE
} // namespace gatestack
