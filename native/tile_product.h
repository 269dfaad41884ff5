// The product of half_product.h on Intel's matrix tiles (AMX): 16 rows of A, 16 columns of B, 16 pairs along k at a
// time. The pairs of half_product.h are what the tiles want: B in panels of [pairs][columns], A in rows.
#ifndef GATESTACK_TILE_PRODUCT_H
#define GATESTACK_TILE_PRODUCT_H

#include "product.h"

#if defined(__AVX512F__) && defined(__linux__)
#define GATESTACK_HAS_TILES 1
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#define GATESTACK_HAS_TILES 0
#endif

namespace gatestack {
namespace GATESTACK_ENGINE {

#if GATESTACK_HAS_TILES
#define GATESTACK_TILE_TARGET                                                                                          \
  __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512dq,avx512vl,fma,avx2")))

// Whether the processor has tiles for bfloat16 and Linux lets this process use them; asked for once.
inline bool has_tiles() {
  static int known = 0; // 1 yes, -1 no; every thread finds the same
  const int seen = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (seen) return seen > 0;
  constexpr int kRequestPermission = 0x1023, kTileData = 18; // arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool has = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 1) &&
                   syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  __atomic_store_n(&known, has ? 1 : -1, __ATOMIC_RELAXED);
  return has;
}

constexpr int kTileSide = 16; // rows, columns and pairs of a tile

// Tiles 0-3 hold C, 4 and 5 whole tiles of A and B, 6 and 7 those at the end of k.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  TileShapes(int height, int pairs_left) {
    for (int i = 0; i < 8; ++i) {
      const bool of_a = i == 4 || i == 6, last = i >= 6;
      const int pairs = last && pairs_left ? pairs_left : kTileSide;
      rows[i] = static_cast<uint8_t>(i < 4 || of_a ? height : pairs);
      row_bytes[i] = static_cast<uint16_t>(of_a ? 4 * pairs : 64);
    }
  }
};
static_assert(sizeof(TileShapes) == 64, "the processor reads 64 bytes");

// C (+)= A B for up to 16 rows and one panel of B, `vectors` tiles wide.
GATESTACK_TILE_TARGET inline void tile_panel(const uint32_t *a, int64_t a_stride, const uint32_t *b, int64_t b_stride,
                                             int64_t pairs, const float *init, float *const *c, int64_t rows,
                                             int64_t column, int vectors, int last) {
  alignas(64) float sum[kTileSide][4 * kTileSide];
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  int64_t k = 0;
  for (; k + kTileSide <= pairs; k += kTileSide) {
    const uint32_t *const from = b + k * b_stride;
    _tile_loadd(4, a + k, 4 * a_stride);
    _tile_loadd(5, from, 4 * b_stride);
    _tile_dpbf16ps(0, 4, 5);
    if (vectors == 1) continue;
    _tile_loadd(5, from + kTileSide, 4 * b_stride);
    _tile_dpbf16ps(1, 4, 5);
    if (vectors == 2) continue;
    _tile_loadd(5, from + 2 * kTileSide, 4 * b_stride);
    _tile_dpbf16ps(2, 4, 5);
    if (vectors == 3) continue;
    _tile_loadd(5, from + 3 * kTileSide, 4 * b_stride);
    _tile_dpbf16ps(3, 4, 5);
  }
  if (k < pairs) {
    const uint32_t *const from = b + k * b_stride;
    _tile_loadd(6, a + k, 4 * a_stride);
    _tile_loadd(7, from, 4 * b_stride);
    _tile_dpbf16ps(0, 6, 7);
    if (vectors > 1) {
      _tile_loadd(7, from + kTileSide, 4 * b_stride);
      _tile_dpbf16ps(1, 6, 7);
    }
    if (vectors > 2) {
      _tile_loadd(7, from + 2 * kTileSide, 4 * b_stride);
      _tile_dpbf16ps(2, 6, 7);
    }
    if (vectors > 3) {
      _tile_loadd(7, from + 3 * kTileSide, 4 * b_stride);
      _tile_dpbf16ps(3, 6, 7);
    }
  }
  _tile_stored(0, sum[0], sizeof sum[0]);
  if (vectors > 1) _tile_stored(1, sum[0] + kTileSide, sizeof sum[0]);
  if (vectors > 2) _tile_stored(2, sum[0] + 2 * kTileSide, sizeof sum[0]);
  if (vectors > 3) _tile_stored(3, sum[0] + 3 * kTileSide, sizeof sum[0]);
  const int64_t columns = (vectors - 1) * kTileSide + last;
  for (int64_t m = 0; m < rows; ++m) {
    float *const to = c[m] + column;
    const float *const from = init ? init : to;
    each_vector<float>(columns, [&](int64_t u, auto lanes) {
      lanes.store(to + u, lanes.load(from + u) + load(sum[m] + u));
    });
  }
}

// Rows of A a_stride apart; B packed in panels.
GATESTACK_TILE_TARGET inline void tile_product(const uint32_t *a, int64_t a_stride, int64_t pairs,
                                               const uint32_t *packed, int64_t columns, const float *init,
                                               bool same_init, float *const *c, int64_t rows) {
  const int left = static_cast<int>(pairs % kTileSide);
  int64_t height = 0;
  for (int64_t column = 0; column < columns; column += panel_width<float>()) {
    const int64_t rest = columns - column, width = rest < panel_width<float>() ? rest : panel_width<float>();
    const int64_t stride = padded_columns<float>(width);
    const int vectors = static_cast<int>(stride / kTileSide);
    for (int64_t row = 0; row < rows; row += kTileSide) {
      const int64_t count = rows - row < kTileSide ? rows - row : kTileSide;
      if (count != height) {
        const TileShapes shapes(static_cast<int>(count), left);
        _tile_loadconfig(&shapes);
        height = count;
      }
      const float *const start = init && !same_init ? init + column : init;
      tile_panel(a + row * a_stride, a_stride, packed, stride, pairs, start, c + row, count, column, vectors,
                 static_cast<int>(width - (vectors - 1) * kTileSide));
    }
    packed += stride * pairs;
  }
  _tile_release();
}
#endif

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
