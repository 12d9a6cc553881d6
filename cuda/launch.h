// What all launchers share. A launcher takes raw pointers, sizes and a stream, and returns at once;
// shapes, types and alignment were checked by its caller (cuda_backend.cpp), who also asks for the
// error of the launch. Pointers are device memory, aligned to 16 bytes unless a parameter says
// otherwise; they must not overlap unless it says they may.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace llm::cuda {

// The type of the elements behind a void pointer.
enum class Element : uint8_t { f32, bf16, f16 };

}  // namespace llm::cuda
