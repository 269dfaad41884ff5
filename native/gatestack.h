// The C ABI of the kernels: stacks of recurrent layers, forward and backward, in one call per batch.
//
// Letters: N batch, T time, C input features, H hidden, P projection (H where there is none), L layers,
// D directions, G gates (LSTM 4, GRU 3, RNN 1), S = the number of real steps of the batch.
// Gate order: LSTM i f g o, GRU r z n. "real" is float or double, as `dtype` says; every array below without
// another type is an array of real. Nothing here owns memory: the caller allocates all of it. What a call
// writes overlaps nothing else that it reads or writes, but where it says so.
//
// A call is described by one gatestack_call. Fill in everything but `packed`, `saved` and `scratch`; ask
// gatestack_sizes how many bytes these take; then gatestack_pack, gatestack_forward, gatestack_backward.
#ifndef GATESTACK_H
#define GATESTACK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GATESTACK_VERSION 1

enum gatestack_cell {
  GATESTACK_LSTM = 0,
  GATESTACK_GRU = 1,              // n = tanh(Wx + b + r (Uh + b)), torch's form
  GATESTACK_GRU_RESET_BEFORE = 2, // n = tanh(Wx + b + U(r h) + b), the paper's form
  GATESTACK_RNN_TANH = 3,
  GATESTACK_RNN_RELU = 4,
};

enum gatestack_dtype { GATESTACK_FLOAT32 = 0, GATESTACK_FLOAT64 = 1 };

enum gatestack_flags {
  GATESTACK_SAVE = 1,      // fill `saved`, for a backward pass to come; otherwise `saved` is not touched
  GATESTACK_RECOMPUTE = 2, // save no gates, compute them again in the backward pass
  GATESTACK_BFLOAT16 = 4,  // round the operands of the products with weights to bfloat16, add up in float32
                           // (float32 only); gradients of weights keep float32 operands
  GATESTACK_TRAINING = 8,  // draw the masks of dropout and zoneout; otherwise dropout does nothing and zoneout
                           // takes the expected value
};

// The status every function returns. Nothing is written where it is not 0.
enum gatestack_status {
  GATESTACK_OK = 0,
  GATESTACK_BAD_SIZE = 1,     // gatestack_call.size or .version is not this library's
  GATESTACK_BAD_ARGUMENT = 2, // a value outside its range, or options that exclude each other
};

// The parameters of one direction of one layer, or, in a backward call, where their gradients go. Contiguous,
// row-major. Gradients are overwritten, not added to; a gradient that is NULL is not computed.
typedef struct {
  void *weight_input;      // [G*H][C of this layer]
  void *weight_hidden;     // [G*H][P]
  void *bias_input;        // [G*H], or NULL for zeros
  void *bias_hidden;       // [G*H], or NULL for zeros
  void *weight_projection; // [P][H], or NULL where projection_size is 0 (LSTM only)
  void *peephole;          // [3][H] in the order i f o, or NULL for none (LSTM only)
  // Layer normalisation (Ba et al. 2016); all or none. LSTM: all four. GRU (reset after), RNN: the first two.
  // The biases of the normalised products are bias_input and bias_hidden.
  void *gain_input;        // [G*H], or NULL for no normalisation
  void *gain_hidden;       // [G*H], or NULL
  void *gain_cell;         // [H], or NULL
  void *bias_cell;         // [H], or NULL
} gatestack_weights;

// One layer, all its directions.
typedef struct {
  int32_t cell;            // gatestack_cell
  int32_t residual;        // 1: the layer's output is h plus the layer's input before dropout
  int64_t input_size;      // C; for a layer above the first, D*P of the layer below
  int64_t hidden_size;     // H
  int64_t projection_size; // P, or 0 for none
  // Probabilities in [0, 1). With GATESTACK_TRAINING a mask is drawn, as dropout.h says.
  double input_dropout;     // on the layer's input
  double hidden_dropout;    // on h in the recurrent product, one mask per sequence (Gal & Ghahramani 2016)
  double candidate_dropout; // on the candidate g or n, a new mask each step (Semeniuta et al. 2016)
  double zoneout_hidden;    // (Krueger et al. 2017)
  double zoneout_cell;      // LSTM only
  int32_t input_dropout_per_step; // 1: a new mask each step; 0: one per sequence
  int32_t reserved;
  const gatestack_weights *weights;   // [D]
  const gatestack_weights *gradients; // [D], or NULL; read by gatestack_backward only
  const void *h0;          // [D][N][P], or NULL for zeros
  const void *c0;          // [D][N][H], or NULL for zeros (LSTM only)
  void *hn;                // [D][N][P], or NULL; may be h0 itself in inference
  void *cn;                // [D][N][H], or NULL; may be c0 itself in inference
  void *cells;             // [N][T][D*H], the cell state of each step, or NULL (LSTM only); 0 where not real
  const void *grad_hn;     // [D][N][P], or NULL for zeros
  const void *grad_cn;     // [D][N][H], or NULL for zeros
  const void *grad_cells;  // [N][T][D*H], or NULL for zeros; not read where a step is not real
  void *grad_h0;           // [D][N][P], or NULL
  void *grad_c0;           // [D][N][H], or NULL
} gatestack_layer;

typedef struct {
  uint32_t size;           // sizeof(gatestack_call)
  uint32_t version;        // GATESTACK_VERSION
  int32_t dtype;           // gatestack_dtype
  int32_t flags;           // gatestack_flags, or-ed
  int32_t threads;         // at most so many; at least 1
  int32_t directions;      // D: 1 or 2
  int64_t batch;           // N, 0 is fine
  int64_t steps;           // T, 0 is fine
  int64_t layer_count;     // L, from 1 to 64
  uint64_t seed;           // of dropout and zoneout
  gatestack_layer *layers; // [L]
  // x[n][t][c] is at x + n * x_batch + t * x_step + c, counted in elements; likewise y and the gradients.
  const void *x;           // not read where a step is not real
  int64_t x_batch, x_step;
  void *y;                 // [N][T][D*P of the last layer], 0 where a step is not real. Without GATESTACK_SAVE
  int64_t y_batch, y_step; // it may be NULL: nothing but the final states is wanted then
  const void *grad_y;      // or NULL for zeros; not read where a step is not real
  int64_t grad_y_batch, grad_y_step;
  void *grad_x;            // or NULL; 0 where a step is not real
  int64_t grad_x_batch, grad_x_step;
  const int64_t *lengths;  // [N], from 0 to T, or NULL
  const uint8_t *mask;     // [N][T], 1 where a step is real, or NULL; at most one of lengths and mask
  void *packed;            // weights in the kernels' layout, filled by gatestack_pack; 64-byte aligned
  void *saved;             // filled by a training forward, read by its backward; 64-byte aligned
  void *scratch;           // may hold anything before and after; not shared between calls; 64-byte aligned
} gatestack_call;

typedef struct {
  int64_t packed;  // the same for every batch, length and flag but GATESTACK_BFLOAT16
  int64_t saved;   // 0 without GATESTACK_SAVE
  int64_t scratch_forward;
  int64_t scratch_backward; // 0 without GATESTACK_SAVE
} gatestack_bytes;

// What a call needs. Pointers other than layers, weights (for which are NULL), lengths and mask are not read.
int32_t gatestack_sizes(const gatestack_call *call, gatestack_bytes *bytes);

// Fill call->packed from the weights. Once per change of the weights; uses no scratch.
int32_t gatestack_pack(const gatestack_call *call);

// Write y, hn, cn, cells, and with GATESTACK_SAVE `saved`. Reads weights and biases through `packed`, peepholes,
// gains and biases of normalised layers directly.
int32_t gatestack_forward(const gatestack_call *call);

// The gradients of what forward computed. Wants the call as it was in forward (same x, weights, lengths or
// mask, seed, flags; y as forward wrote it), with `saved` from there, and the grad_ pointers.
int32_t gatestack_backward(const gatestack_call *call);

// One step of a convolutional LSTM, all but its convolutions: N images of P positions with F channels. Channels stand
// next to each other, positions in any one order. c' is the cell state before the step, * the product by element.
//
//   i = σ(ī + p_i * c')   f = σ(f̄ + p_f * c')   g = tanh ḡ   c = f * c' + i * g   o = σ(ō + p_o * c)   h = o * tanh c
typedef struct {
  uint32_t size;           // sizeof(gatestack_conv_lstm)
  uint32_t version;        // GATESTACK_VERSION
  int32_t dtype;           // gatestack_dtype
  int32_t threads;         // at most so many; at least 1
  int64_t rows;            // N, 0 is fine
  int64_t positions;       // P, at least 1
  int64_t channels;        // F, at least 1
  const void *sums_input;  // [N][P][4F], the input convolution and the biases; forward only
  const void *sums_hidden; // [N][P][4F], the recurrent convolution, or NULL for zeros; forward only
  void *gates;             // [N][P][4F], i f g o. Forward: written, or NULL; may be either of the sums. Backward: read
  const void *peephole;    // [3][P][F], p_i p_f p_o, or NULL for none
  const void *c_before;    // [N][P][F], c'
  void *c;                 // [N][P][F]; may be c_before; forward only
  void *h;                 // [N][P][F]; forward only
  // Backward only. The gradient of h is grad_y + grad_h.
  const void *grad_y;      // [N][P][F], or NULL for zeros
  const void *grad_h;      // [N][P][F], or NULL for zeros
  void *grad_c;            // [N][P][F], the gradient of c, becomes that of c'
  void *grad_gates;        // [N][P][4F], written: the gradients of the sums; may be gates
  void *grad_peephole;     // [3][P][F], added to; where there is a peephole
} gatestack_conv_lstm;

// Write c and h, and the gates where they are wanted.
int32_t gatestack_conv_lstm_forward(const gatestack_conv_lstm *call);

// The gradients of what forward computed, from the gates that it wrote.
int32_t gatestack_conv_lstm_backward(const gatestack_conv_lstm *call);

// Dropout and zoneout masks, as the kernels draw them, for tests: 1 where a unit is kept. `kind` as in
// dropout.h; out is [rows][steps][units], a mask per sequence is the one of step 0.
void gatestack_mask(uint64_t seed, int32_t kind, int32_t layer, int32_t direction, int64_t rows, int64_t steps,
                    int64_t units, double probability, uint8_t *out);

// Elementwise functions, for tests of their accuracy: out may be x. function: 0 sigmoid, 1 tanh.
int32_t gatestack_activation(int32_t function, int32_t dtype, const void *x, void *out, int64_t count);

// The instruction set in use ("avx512", "avx2", "baseline"), chosen at load: the best this machine has, or the
// one the environment variable GATESTACK_ISA names. An unknown or missing one there: "" and every call fails.
const char *gatestack_isa(void);

// The instruction sets built in that this machine has, best first, separated by spaces.
const char *gatestack_isas(void);

// 1 where the kernels have faster products for bfloat16 on this processor (AMX, or AVX-512 BF16 of AMD); otherwise
// GATESTACK_BFLOAT16 rounds and uses float32 products.
int32_t gatestack_has_bfloat16(void);

// Fused multiply-adds on registers alone for about `seconds` on one thread: GFLOP/s reached, for the dtype.
double gatestack_peak_gflops(int32_t dtype, double seconds);

// Give the kernels the GOMP_parallel of the OpenMP library that torch has loaded: calls then run on its threads.
// NULL takes it back.
void gatestack_use_openmp(void *parallel);

#ifdef __cplusplus
}
#endif
#endif
