#include "model/activation_arena.h"

#include <algorithm>

#include "base/error.h"

namespace llm {
namespace {
constexpr int64_t kAlignment = 256;  // what vector loads and TMA descriptors like
}  // namespace

ActivationArena::ActivationArena(Backend& backend, int64_t bytes)
    : memory_(backend.allocate(bytes, "activations")), capacity_(bytes) {}

Tensor ActivationArena::take(DType dtype, std::initializer_list<int64_t> shape) {
  Tensor tensor(static_cast<std::byte*>(memory_->data()) + used_, dtype, shape);
  const int64_t bytes = (tensor.bytes() + kAlignment - 1) / kAlignment * kAlignment;
  LLM_ASSERT(bytes <= capacity_ - used_, "{} of {} bytes used, {} more wanted", used_, capacity_,
             bytes);
  used_ += bytes;
  high_water_ = std::max(high_water_, used_);
  return tensor;
}

int64_t ActivationArena::room() const { return (capacity_ - used_) / kAlignment * kAlignment; }

void ActivationArena::rewind(int64_t mark) {
  LLM_ASSERT(mark <= used_);
  used_ = mark;
}

}  // namespace llm
