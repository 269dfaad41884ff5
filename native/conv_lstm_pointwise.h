// The element-wise part of a step of a convolutional LSTM, forward and backward; the convolutions are somebody
// else's.
//
// Channels stand next to each other in memory, so that the gates of one position are i f g o, F each, while
// lstm_pointwise.h wants long rows i, f, g, o. A block of positions is brought into that form: small enough for
// the nearest cache, long enough for the loops over a row.
#ifndef GATESTACK_CONV_LSTM_POINTWISE_H
#define GATESTACK_CONV_LSTM_POINTWISE_H

#include "lstm_pointwise.h"
#include "threads.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

template <class T> struct ConvLSTMStep {
  static constexpr int64_t kBlock = 512; // elements of a row of a block: 4 gates and 4 rows of scratch are 16 KiB

  const gatestack_conv_lstm &call;
  const int64_t F, positions;       // channels, positions of an image
  const int64_t width, length;      // of a block: channels, positions; one of them is all there are, or 1
  const int64_t across, along;      // blocks: for all channels, for all positions of an image

  explicit ConvLSTMStep(const gatestack_conv_lstm &c)
      : call(c), F(c.channels), positions(c.positions), width(F < kBlock ? F : kBlock), length(kBlock / width),
        across((F + width - 1) / width), along((positions + length - 1) / length) {}

  // A block of one image: where its elements stand, and how many they are.
  struct Block {
    int64_t position, count, channel, columns; // first position, positions; first channel, channels
    int64_t gates, cells;                      // of its first element, in [rows][positions][4F] and [...][F]
    int64_t elements() const { return count * columns; }
  };
  Block block(int64_t row, int64_t number) const {
    Block b;
    b.position = number / across * length;
    b.channel = number % across * width;
    b.count = positions - b.position < length ? positions - b.position : length;
    b.columns = F - b.channel < width ? F - b.channel : width;
    b.cells = (row * positions + b.position) * F + b.channel;
    b.gates = (row * positions + b.position) * 4 * F + b.channel;
    return b;
  }

  // Moves the gates of a block between memory, [position][gate][F], and rows, [gate][elements].
  template <class Move> void each_piece(const Block &b, Move move) const {
    for (int64_t p = 0; p < b.count; ++p)
      for (int64_t gate = 0; gate < 4; ++gate)
        move(b.gates + p * 4 * F + gate * F, gate * b.elements() + p * b.columns);
  }
  void take_gates(const Block &b, const void *from, T *rows) const {
    const T *const base = static_cast<const T *>(from);
    each_piece(b, [&](int64_t at, int64_t row) { copy_row(rows + row, base + at, b.columns); });
  }
  void put_gates(const Block &b, void *to, const T *rows) const {
    T *const base = static_cast<T *>(to);
    each_piece(b, [&](int64_t at, int64_t row) { copy_row(base + at, rows + row, b.columns); });
  }
  // A map [3][positions][F] for this block, [3][elements]: nothing else of it is read or written. A block is a whole
  // number of positions, or part of one, so each gate's share is one piece.
  T *map_of(void *map, const Block &b, int64_t gate) const {
    return static_cast<T *>(map) + (gate * positions + b.position) * F + b.channel;
  }
  void take_map(const Block &b, const void *map, T *rows) const {
    for (int64_t gate = 0; gate < 3; ++gate)
      copy_row(rows + gate * b.elements(), map_of(const_cast<void *>(map), b, gate), b.elements());
  }

  void forward(int64_t row, int64_t number) const {
    const Block b = block(row, number);
    const int64_t n = b.elements();
    T gates[4 * kBlock], map[3 * kBlock], rows[4 * kBlock];
    take_gates(b, call.sums_input, gates);
    if (call.sums_hidden) {
      const T *const sums = static_cast<const T *>(call.sums_hidden);
      each_piece(b, [&](int64_t at, int64_t to) { add_row(gates + to, sums + at, b.columns); });
    }
    T *const c = static_cast<T *>(call.c) + b.cells, *const h = static_cast<T *>(call.h) + b.cells;
    if (call.c != call.c_before) copy_row(c, static_cast<const T *>(call.c_before) + b.cells, n);
    LSTMOptions<T> options = {};
    if (call.peephole) {
      take_map(b, call.peephole, map);
      options.peephole = map;
      options.rows = rows;
      lstm_forward<T, false>(n, gates, c, h, options);
    } else {
      lstm_forward<T, true>(n, gates, c, h, options);
    }
    if (call.gates) put_gates(b, call.gates, gates);
  }

  void backward(int64_t row, int64_t number) const {
    const Block b = block(row, number);
    const int64_t n = b.elements();
    T gates[4 * kBlock], map[3 * kBlock], d_map[3 * kBlock], rows[4 * kBlock], d_h[kBlock];
    take_gates(b, call.gates, gates);
    fill_row(d_h, T(0), n);
    if (call.grad_y) add_row(d_h, static_cast<const T *>(call.grad_y) + b.cells, n);
    if (call.grad_h) add_row(d_h, static_cast<const T *>(call.grad_h) + b.cells, n);
    const T *const c_before = static_cast<const T *>(call.c_before) + b.cells;
    T *const d_c = static_cast<T *>(call.grad_c) + b.cells;
    LSTMOptions<T> options = {};
    options.rows = rows;
    if (call.peephole) {
      take_map(b, call.peephole, map);
      take_map(b, call.grad_peephole, d_map);
      options.peephole = map;
      options.peephole_gradient = d_map;
      lstm_backward<T, false>(n, gates, c_before, d_h, d_c, gates, options);
      for (int64_t gate = 0; gate < 3; ++gate) copy_row(map_of(call.grad_peephole, b, gate), d_map + gate * n, n);
    } else {
      lstm_backward<T, true>(n, gates, c_before, d_h, d_c, gates, options);
    }
    put_gates(b, call.grad_gates, gates);
  }

  // One task is one block of one image; where the gradients of peepholes are summed over the images, one block of all
  // images, in their order, so that the sum is the same whatever the number of threads.
  template <class Task> void run(bool sums_over_rows, Task task) const {
    const int64_t blocks = across * along, rows = call.rows;
    auto body = [&](Team &team) {
      int64_t begun = 0;
      if (sums_over_rows)
        team.phase(blocks, [&](int64_t i) { for (int64_t row = 0; row < rows; ++row) task(row, i); }, begun);
      else team.phase(rows * blocks, [&](int64_t i) { task(i / blocks, i % blocks); }, begun);
    };
    // A thread more costs some microseconds: it pays where each has a few blocks.
    const int64_t useful = rows * blocks / 8 + 1;
    run_team(static_cast<int>(call.threads < useful ? call.threads : useful), body);
  }
};

template <class T> inline void conv_lstm_forward(const gatestack_conv_lstm &call) {
  const ConvLSTMStep<T> step(call);
  step.run(false, [&](int64_t row, int64_t block) { step.forward(row, block); });
}

template <class T> inline void conv_lstm_backward(const gatestack_conv_lstm &call) {
  const ConvLSTMStep<T> step(call);
  step.run(call.peephole != nullptr, [&](int64_t row, int64_t block) { step.backward(row, block); });
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
