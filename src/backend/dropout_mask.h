// The definition of dropout masks, shared by every backend.
#pragma once

#include <cstdint>

#include "base/rng.h"

namespace llm {

// The Philox stream of one (site, global sample).
inline uint64_t dropout_stream(uint32_t site, int64_t sample) {
  // Sites and samples stay far below these bounds; the top bit keeps the streams apart from the
  // named ones (stream_id) for all practical purposes.
  return (uint64_t{1} << 63) |
         ((static_cast<uint64_t>(site) << 44) ^ static_cast<uint64_t>(sample));
}

// An element is dropped iff its 32-bit random number is below this.
inline uint32_t dropout_threshold(float rate) {
  return static_cast<uint32_t>(static_cast<double>(rate) * 4294967296.0);  // rate < 1
}

inline bool dropout_keeps(uint64_t seed, uint64_t stream, uint64_t element, uint32_t threshold) {
  return Random(seed, stream).bits32(element) >= threshold;
}

}  // namespace llm
