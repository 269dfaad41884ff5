// The random masks of dropout and zoneout, from a counter: a mask is a function of (seed, kind, layer, direction,
// row of the batch, step, unit), so nothing is stored and the backward pass draws the same bits again.
//
// With mix the finaliser of SplitMix64 (Steele, Lea & Flood 2014):
//
//   k = mix(mix(seed) + kind + 16 direction + 256 layer),   r = mix(mix(k + row) + step)
//
// and, for unit u, v = low(r) + u · 0x9E3779B1 through two multiply-xorshift rounds of 32 bits with high(r) mixed in
// between. A unit is kept where v ≥ p · 2^32. `step` counts the real steps of the row in time order, in the
// reverse direction too; a mask that stays the same over the sequence is the one of step 0.
#ifndef GATESTACK_DROPOUT_H
#define GATESTACK_DROPOUT_H

#include "simd.h"

namespace gatestack {
namespace GATESTACK_ENGINE {

enum MaskKind { kInputMask = 0, kHiddenMask = 1, kCandidateMask = 2, kZoneoutHiddenMask = 3, kZoneoutCellMask = 4 };

template <int count> struct Bits32 { typedef uint32_t vector __attribute__((vector_size(4 * count))); };

inline uint64_t mix(uint64_t z) {
  z += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

struct MaskKey {
  uint64_t key;
  uint32_t threshold;
  MaskKey(uint64_t seed, int kind, int64_t layer, int direction, double probability)
      : key(mix(mix(seed) + static_cast<uint64_t>(kind) + 16u * static_cast<uint64_t>(direction) +
                256u * static_cast<uint64_t>(layer))) {
    const double scaled = probability * 4294967296.0;
    threshold = scaled >= 4294967295.0 ? 4294967295u : static_cast<uint32_t>(scaled);
  }
};

// out[u] = kept or dropped, for unit first + u, u < units.
template <class T>
inline void draw_mask_from(const MaskKey &mask, int64_t row, int64_t step, int64_t first, int64_t units, T kept,
                           T dropped, T *out) {
  constexpr int VL = Lanes<T>::count;
  typedef typename Bits32<VL>::vector Bits;
  const uint64_t r = mix(mix(mask.key + static_cast<uint64_t>(row)) + static_cast<uint64_t>(step));
  const uint32_t low = static_cast<uint32_t>(r), high = static_cast<uint32_t>(r >> 32);
  Bits lane;
  for (int i = 0; i < VL; ++i) lane[i] = static_cast<uint32_t>(i) * 0x9E3779B1u;
  const Vector<T> on = broadcast<T>(kept), off = broadcast<T>(dropped);
  each_vector<T>(units, [&](int64_t u, auto lanes) {
    Bits v = lane + (low + static_cast<uint32_t>(first + u) * 0x9E3779B1u);
    v ^= v >> 16;
    v *= 0x21f0aaadu;
    v ^= high;
    v ^= v >> 15;
    v *= 0xd35a2d97u;
    v ^= v >> 15;
    const auto keep = __builtin_convertvector(v >= mask.threshold, IntegerVector<T>); // -1 or 0 in each lane
    lanes.store(out + u, keep != 0 ? on : off);
  });
}

template <class T>
inline void draw_mask(const MaskKey &mask, int64_t row, int64_t step, int64_t units, T kept, T dropped, T *out) {
  draw_mask_from(mask, row, step, 0, units, kept, dropped, out);
}

} // namespace GATESTACK_ENGINE
} // namespace gatestack
#endif
