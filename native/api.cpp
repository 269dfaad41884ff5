// The C ABI: checks of a call, and the choice of the instruction set.
#include "gatestack.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "threads.h"

namespace gatestack {

#if GATESTACK_HAS_AVX512
namespace avx512 { extern const Engine engine; }
#endif
#if GATESTACK_HAS_AVX2
namespace avx2 { extern const Engine engine; }
#endif
namespace baseline { extern const Engine engine; }

namespace {

struct InstructionSet {
  const char *name;
  const Engine *engine;
  bool (*present)();
};

const InstructionSet kInstructionSets[] = {
#if GATESTACK_HAS_AVX512
    {"avx512", &avx512::engine,
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
     }},
#endif
#if GATESTACK_HAS_AVX2
    {"avx2", &avx2::engine, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
    {"baseline", &baseline::engine, [] { return true; }},
};

// The best set this machine has, or the one GATESTACK_ISA names; NULL where it has no such set.
const InstructionSet *choose() {
  const char *const wanted = getenv("GATESTACK_ISA");
  for (const InstructionSet &set : kInstructionSets)
    if (set.present() && (!wanted || !*wanted || !strcmp(wanted, set.name))) return &set;
  return nullptr;
}

const InstructionSet *const chosen = choose();

bool is_probability(double p) { return p >= 0.0 && p < 1.0; }

bool is_layer(const gatestack_call &call, int64_t l) {
  const gatestack_layer &layer = call.layers[l];
  const bool lstm = layer.cell == GATESTACK_LSTM, before = layer.cell == GATESTACK_GRU_RESET_BEFORE;
  if (layer.cell < GATESTACK_LSTM || layer.cell > GATESTACK_RNN_RELU || !layer.weights) return false;
  if (layer.input_size < 1 || layer.hidden_size < 1 || layer.projection_size < 0) return false;
  if (!lstm && (layer.projection_size || layer.zoneout_cell > 0 || layer.cells || layer.grad_cells)) return false;
  if (!lstm && !before && layer.cell != GATESTACK_GRU && layer.candidate_dropout > 0) return false;
  const double probabilities[] = {layer.input_dropout, layer.hidden_dropout, layer.candidate_dropout,
                                  layer.zoneout_hidden, layer.zoneout_cell};
  for (const double p : probabilities)
    if (!is_probability(p)) return false;
  const int64_t width = call.directions * (layer.projection_size ? layer.projection_size : layer.hidden_size);
  if (layer.residual && width != layer.input_size) return false;
  if (l + 1 < call.layer_count && width != call.layers[l + 1].input_size) return false;
  for (int d = 0; d < call.directions; ++d) {
    const gatestack_weights &weights = layer.weights[d];
    const bool norm = weights.gain_input, first = layer.weights[0].gain_input;
    if (norm != first || norm != (weights.gain_hidden != nullptr) || (norm && before)) return false;
    if ((norm && lstm) != (weights.gain_cell != nullptr)) return false;
    if ((weights.gain_cell != nullptr) != (weights.bias_cell != nullptr)) return false;
    if ((weights.peephole && !lstm) || (weights.peephole != nullptr) != (layer.weights[0].peephole != nullptr))
      return false;
  }
  return true;
}

bool is_call(const gatestack_call &call) {
  if (call.dtype != GATESTACK_FLOAT32 && call.dtype != GATESTACK_FLOAT64) return false;
  if (call.flags & ~(GATESTACK_SAVE | GATESTACK_RECOMPUTE | GATESTACK_BFLOAT16 | GATESTACK_TRAINING)) return false;
  if ((call.flags & GATESTACK_BFLOAT16) && call.dtype != GATESTACK_FLOAT32) return false;
  if (call.threads < 1 || call.directions < 1 || call.directions > 2 || call.batch < 0 || call.steps < 0) return false;
  if (call.layer_count < 1 || call.layer_count > 64 || !call.layers || (call.lengths && call.mask)) return false;
  for (int64_t l = 0; l < call.layer_count; ++l)
    if (!is_layer(call, l)) return false;
  for (int64_t n = 0; call.lengths && n < call.batch; ++n)
    if (call.lengths[n] < 0 || call.lengths[n] > call.steps) return false;
  return true;
}

// Whether a pass has what it may not do without. Without a real step there may be no x and y.
bool has_memory(const gatestack_call &call) {
  const bool has_steps = call.batch > 0 && call.steps > 0, saves = call.flags & GATESTACK_SAVE;
  if (!call.packed || !call.scratch || (has_steps && (!call.x || (saves && !call.y)))) return false;
  for (int64_t l = 0; l < call.layer_count; ++l)
    for (int d = 0; d < call.directions; ++d)
      if (saves && call.layers[l].projection_size && !call.layers[l].weights[d].weight_projection) return false;
  return true;
}

int32_t check(const gatestack_call *call) {
  if (!chosen) return GATESTACK_BAD_ARGUMENT;
  if (call->size != sizeof(gatestack_call) || call->version != GATESTACK_VERSION) return GATESTACK_BAD_SIZE;
  return is_call(*call) ? GATESTACK_OK : GATESTACK_BAD_ARGUMENT;
}

int32_t check(const gatestack_conv_lstm *call, bool backward) {
  if (!chosen) return GATESTACK_BAD_ARGUMENT;
  if (call->size != sizeof(gatestack_conv_lstm) || call->version != GATESTACK_VERSION) return GATESTACK_BAD_SIZE;
  const bool is_dtype = call->dtype == GATESTACK_FLOAT32 || call->dtype == GATESTACK_FLOAT64;
  if (!is_dtype || call->threads < 1) return GATESTACK_BAD_ARGUMENT;
  if (call->rows < 0 || call->positions < 1 || call->channels < 1 || !call->c_before) return GATESTACK_BAD_ARGUMENT;
  const bool has_forward = call->sums_input && call->c && call->h;
  const bool has_backward = call->gates && call->grad_c && call->grad_gates;
  if (!(backward ? has_backward : has_forward)) return GATESTACK_BAD_ARGUMENT;
  if (backward && call->peephole && !call->grad_peephole) return GATESTACK_BAD_ARGUMENT;
  return GATESTACK_OK;
}

} // namespace
} // namespace gatestack

using namespace gatestack;

#define GATESTACK_EXPORT extern "C" __attribute__((visibility("default")))

GATESTACK_EXPORT int32_t gatestack_sizes(const gatestack_call *call, gatestack_bytes *bytes) {
  if (const int32_t wrong = check(call)) return wrong;
  chosen->engine->measure[call->dtype](*call, *bytes);
  return GATESTACK_OK;
}

GATESTACK_EXPORT int32_t gatestack_pack(const gatestack_call *call) {
  if (const int32_t wrong = check(call)) return wrong;
  chosen->engine->pack[call->dtype](*call);
  return GATESTACK_OK;
}

GATESTACK_EXPORT int32_t gatestack_forward(const gatestack_call *call) {
  if (const int32_t wrong = check(call)) return wrong;
  if (!has_memory(*call)) return GATESTACK_BAD_ARGUMENT;
  chosen->engine->forward[call->dtype](*call);
  return GATESTACK_OK;
}

GATESTACK_EXPORT int32_t gatestack_backward(const gatestack_call *call) {
  if (const int32_t wrong = check(call)) return wrong;
  if (!(call->flags & GATESTACK_SAVE) || !has_memory(*call)) return GATESTACK_BAD_ARGUMENT;
  chosen->engine->backward[call->dtype](*call);
  return GATESTACK_OK;
}

GATESTACK_EXPORT int32_t gatestack_conv_lstm_forward(const gatestack_conv_lstm *call) {
  if (const int32_t wrong = check(call, false)) return wrong;
  chosen->engine->conv_lstm_forward[call->dtype](*call);
  return GATESTACK_OK;
}

GATESTACK_EXPORT int32_t gatestack_conv_lstm_backward(const gatestack_conv_lstm *call) {
  if (const int32_t wrong = check(call, true)) return wrong;
  chosen->engine->conv_lstm_backward[call->dtype](*call);
  return GATESTACK_OK;
}

GATESTACK_EXPORT void gatestack_mask(uint64_t seed, int32_t kind, int32_t layer, int32_t direction, int64_t rows,
                                     int64_t steps, int64_t units, double probability, uint8_t *out) {
  if (chosen) chosen->engine->draw(seed, kind, layer, direction, rows, steps, units, probability, out);
}

GATESTACK_EXPORT int32_t gatestack_activation(int32_t function, int32_t dtype, const void *x, void *out,
                                              int64_t count) {
  if (!chosen || (function != 0 && function != 1)) return GATESTACK_BAD_ARGUMENT;
  if (dtype == GATESTACK_FLOAT32)
    chosen->engine->activate_float(function, static_cast<const float *>(x), static_cast<float *>(out), count);
  else if (dtype == GATESTACK_FLOAT64)
    chosen->engine->activate_double(function, static_cast<const double *>(x), static_cast<double *>(out), count);
  else return GATESTACK_BAD_ARGUMENT;
  return GATESTACK_OK;
}

GATESTACK_EXPORT const char *gatestack_isa(void) { return chosen ? chosen->name : ""; }

GATESTACK_EXPORT const char *gatestack_isas(void) {
  static char names[64];
  char *end = names;
  for (const InstructionSet &set : kInstructionSets) {
    if (!set.present()) continue;
    if (end != names) *end++ = ' ';
    const size_t length = strlen(set.name);
    memcpy(end, set.name, length);
    end += length;
  }
  *end = 0;
  return names;
}

GATESTACK_EXPORT int32_t gatestack_has_bfloat16(void) { return chosen && chosen->engine->has_bfloat16(); }

GATESTACK_EXPORT double gatestack_peak_gflops(int32_t dtype, double seconds) {
  if (!chosen) return 0.0;
  const auto now = [] {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  double best = 0.0;
  for (const double end = now() + seconds; now() < end;) {
    const double start = now();
    const int64_t operations = 2 * chosen->engine->multiply_add(dtype, 100000);
    const double rate = static_cast<double>(operations) / (now() - start) * 1e-9;
    if (rate > best) best = rate;
  }
  return best;
}

GATESTACK_EXPORT void gatestack_use_openmp(void *parallel) { use_openmp(reinterpret_cast<OpenMPParallel>(parallel)); }
