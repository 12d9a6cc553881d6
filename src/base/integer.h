// Arithmetic on sizes.
#pragma once

#include <cstdint>

namespace llm {

// The smallest multiple of `multiple` that is at least `value`.
inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace llm
