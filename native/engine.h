// What an engine, the kernels compiled for one instruction set, offers to api.cpp. The two entries of each
// array are for float and double.
#ifndef GATESTACK_ENGINE_H
#define GATESTACK_ENGINE_H

#include "gatestack.h"

namespace gatestack {

struct Engine {
  void (*measure[2])(const gatestack_call &call, gatestack_bytes &bytes);
  void (*pack[2])(const gatestack_call &call);
  void (*forward[2])(const gatestack_call &call);
  void (*backward[2])(const gatestack_call &call);
  void (*conv_lstm_forward[2])(const gatestack_conv_lstm &call);
  void (*conv_lstm_backward[2])(const gatestack_conv_lstm &call);
  void (*activate_float)(int function, const float *x, float *out, int64_t count);
  void (*activate_double)(int function, const double *x, double *out, int64_t count);
  void (*draw)(uint64_t seed, int32_t kind, int32_t layer, int32_t direction, int64_t rows, int64_t steps,
               int64_t units, double probability, uint8_t *out);
  int64_t (*multiply_add)(int dtype, int64_t rounds);
  bool (*has_bfloat16)();
};

} // namespace gatestack
#endif
