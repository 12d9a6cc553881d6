#include "backend/backend.h"

namespace llm {

std::unique_ptr<CapturedWork> Backend::capture(const std::function<void()>&) { return nullptr; }
void Backend::replay(const CapturedWork&) {}
int64_t Backend::scratch_bytes(const std::string&, Tensor, Tensor) const { return 0; }
void Backend::reserve_scratch(int64_t) {}
void Backend::set_tuning(bool) {}
std::string Backend::plan() const { return {}; }
void Backend::load_plan(const std::string&, const std::string&) {}
void Backend::set_profiling(bool) {}
std::vector<OpTime> Backend::op_times() { return {}; }

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

void Backend::linear_backward_gelu(Tensor dpre, Tensor dweight, Tensor dbias, Tensor dpre_bias,
                                   Tensor dy, Tensor x, Tensor pre, const Weight& weight) {
  linear_backward(dpre, dweight, dbias, dy, x, weight, /*accumulate=*/false);
  gelu_backward(dpre, dpre, pre);
  if (dpre_bias) bias_backward(dpre_bias, dpre);
}

void Backend::cross_entropy_forward_backward(Tensor losses, Tensor logits, Tensor targets,
                                             int64_t vocab, Tensor gradient_scale) {
  cross_entropy_forward(losses, logits, targets, vocab);
  cross_entropy_backward(logits, logits, targets, vocab, gradient_scale);
}

}  // namespace llm
