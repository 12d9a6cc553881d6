#include "backend/backend.h"

namespace llm {

void Backend::residual_layernorm_forward(Tensor sum, Tensor y, Tensor mean, Tensor rstd, Tensor a,
                                         Tensor b, Tensor weight, Tensor bias, float epsilon) {
  add(sum, a, b);
  layernorm_forward(y, mean, rstd, sum, weight, bias, epsilon);
}

void Backend::linear_gelu_forward(Tensor y, Tensor pre, Tensor x, const Weight& weight,
                                  Tensor bias) {
  linear_forward(pre ? pre : y, x, weight, bias);
  gelu_forward(y, pre ? pre : y);
}

void Backend::cross_entropy_forward_backward(Tensor losses, Tensor logits, Tensor targets,
                                             int64_t vocab, Tensor gradient_scale) {
  cross_entropy_forward(losses, logits, targets, vocab);
  cross_entropy_backward(logits, logits, targets, vocab, gradient_scale);
}

}  // namespace llm
