// Sums over the gradients and the AdamW update; see backend.h. Everything is f32.
#pragma once

#include <cstdint>

#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

// Both sum blocks of fixed size in f64 and add the blocks in order, so that the result does not
// depend on the number of threads.
double sum(const float* x, int64_t count, Threads threads);
double sum_of_squares(const float* x, int64_t count, Threads threads);

// The numbers of one update, the same for all parameters.
struct AdamWStep {
  float learning_rate, gradient_scale, beta1, beta2, epsilon;
  int32_t updates;  // t, from 1
};

// low (the bf16 copy) may be null. chunk_decay has one entry per `chunk` elements; negative: the
// chunk keeps every bit of its parameters and moments.
void adamw_update(float* params, uint16_t* low, float* m, float* v, const float* grads,
                  const float* chunk_decay, int64_t count, int64_t chunk, const AdamWStep& step,
                  Threads threads);

// Vectorized; squares and moments in f32, sums of squares in f64 lanes.
double sum_of_squares_fast(const float* x, int64_t count, Threads threads);
void adamw_update_fast(float* params, uint16_t* low, float* m, float* v, const float* grads,
                       const float* chunk_decay, int64_t count, int64_t chunk,
                       const AdamWStep& step, Threads threads);

}  // namespace llm::cpu_ref
