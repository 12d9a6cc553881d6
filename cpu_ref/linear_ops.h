// The linear ops on tensors, as backend.h defines them: what is given is checked and widened, then
// the fast body runs, or with `plain` the plain one.
#pragma once

#include "backend/backend.h"
#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

void run_linear_forward(Tensor y, Tensor x, const Weight& weight, Tensor bias, bool plain,
                        Threads threads);
// All of it in f32; there is no plain body.
void run_linear_gelu_forward(Tensor y, Tensor pre, Tensor x, const Weight& weight, Tensor bias,
                             Threads threads);
void run_linear_backward(Tensor dx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x,
                         const Weight& weight, bool accumulate, bool plain, Threads threads);

}  // namespace llm::cpu_ref
