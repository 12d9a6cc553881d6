// AdamW and what decides about a step; see backend.h and cpu_ref/optimizer.h.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// Scalars on the device, each (1).
struct UpdateScalars {
  const float* learning_rate;
  float* gradient_norm;
  float* gradient_scale;
  int32_t* apply;
  int32_t* updates;
};

// gradient_norm = sqrt(squared); gradient_scale = min(1, max_norm / norm), 1 where max_norm <= 0;
// apply = norm and loss are finite and loss <= loss_limit; updates += apply.
void prepare_update(const UpdateScalars& scalars, const float* squared, const float* loss,
                    const float* loss_limit, float max_norm, cudaStream_t stream);

// One launch over all parameters; changes nothing where apply is 0.
//   params, m, v, grads: (count) f32   low: (count) bf16 or null, the rounded copy of params
//   chunk_decay: (ceil(count / chunk)) weight decay per chunk of `chunk` elements, negative: frozen
void adamw_update(float* params, void* low, float* m, float* v, const float* grads,
                  const float* chunk_decay, const UpdateScalars& scalars, int64_t count,
                  int64_t chunk, float beta1, float beta2, float epsilon, cudaStream_t stream);

}  // namespace llm::cuda
