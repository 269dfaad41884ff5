// Steps of a convolutional LSTM on three threads, forward and backward, with peepholes and without: under a thread
// sanitizer, which looks for data races. Says whether the gradients are those of one thread, to the bit.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gatestack.h"

enum { ROWS = 3, POSITIONS = 97, CHANNELS = 40, IMAGES = ROWS * POSITIONS * CHANNELS, MAP = 3 * POSITIONS * CHANNELS };

static float *drawn(int count, unsigned seed) {
  float *numbers = malloc(sizeof(float) * (size_t)count);
  for (int i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    numbers[i] = (float)(seed >> 8) / (1 << 23) - 1.0f;
  }
  return numbers;
}

// The gradient of the peepholes and that of the sums, one behind the other.
static float *gradients(int threads, int peephole) {
  float *found = calloc(MAP + 4 * IMAGES, sizeof(float));
  gatestack_conv_lstm call;
  memset(&call, 0, sizeof call);
  call.size = sizeof call;
  call.version = GATESTACK_VERSION;
  call.threads = threads;
  call.rows = ROWS;
  call.positions = POSITIONS;
  call.channels = CHANNELS;
  call.sums_input = drawn(4 * IMAGES, 1);
  call.sums_hidden = drawn(4 * IMAGES, 2);
  call.c_before = drawn(IMAGES, 3);
  call.grad_y = drawn(IMAGES, 4);
  call.grad_h = drawn(IMAGES, 5);
  call.grad_c = drawn(IMAGES, 6);
  call.gates = drawn(4 * IMAGES, 7);
  call.c = drawn(IMAGES, 8);
  call.h = drawn(IMAGES, 9);
  call.grad_gates = found + MAP;
  if (peephole) {
    call.peephole = drawn(MAP, 10);
    call.grad_peephole = found;
  }
  if (gatestack_conv_lstm_forward(&call) || gatestack_conv_lstm_backward(&call)) exit(3);
  return found;
}

int main(void) {
  for (int peephole = 0; peephole < 2; ++peephole)
    if (memcmp(gradients(3, peephole), gradients(1, peephole), sizeof(float) * (MAP + 4 * IMAGES))) {
      puts("three threads give other gradients than one");
      return 1;
    }
  puts("the same bits");
  return 0;
}
