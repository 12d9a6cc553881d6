#include "backend/plan_backend.h"

#include <cstring>

#include "base/error.h"

namespace llm {
namespace {

class PlannedMemory : public DeviceMemory {
 public:
  explicit PlannedMemory(int64_t bytes) {
    // Never read or written: an address that is not null, so that tensors count as given.
    data_ = reinterpret_cast<void*>(uintptr_t{256});  // NOLINT(performance-no-int-to-ptr)
    bytes_ = bytes;
  }
};

class PlanBackend final : public Backend {
 public:
  PlanBackend(const Backend& real, MemoryByPurpose& usage)
      : name_("plan of " + real.name()),
        vocab_multiple_(real.vocab_multiple()),
        memory_available_(real.memory_available()),
        usage_(usage) {}

  std::string name() const override { return name_; }
  bool is_host() const override { return false; }
  int64_t memory_available() const override { return memory_available_; }
  int64_t vocab_multiple() const override { return vocab_multiple_; }

  std::unique_ptr<DeviceMemory> allocate(int64_t bytes, const std::string& purpose) override {
    usage_[purpose] += bytes;
    return std::make_unique<PlannedMemory>(bytes);
  }
  void copy_to_device(Tensor, const void*) override {}
  void copy_to_host(void* to, Tensor from) override {
    std::memset(to, 0, static_cast<size_t>(from.bytes()));
  }
  std::unique_ptr<Event> record(Queue) override { return std::make_unique<Event>(); }
  void wait(Queue, const Event&) override {}
  void synchronize() override {}

  void fill(Tensor, double) override {}
  void convert(Tensor, Tensor) override {}
  void add(Tensor, Tensor, Tensor) override {}
  void scale(Tensor, Tensor) override {}
  void embedding_forward(Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void embedding_backward(Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void layernorm_forward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float) override {}
  void layernorm_backward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                          bool) override {}
  void linear_forward(Tensor, Tensor, const Weight&, Tensor) override {}
  void linear_backward(Tensor, Tensor, Tensor, Tensor, Tensor, const Weight&, bool) override {}
  void gelu_forward(Tensor, Tensor) override {}
  void gelu_backward(Tensor, Tensor, Tensor) override {}
  void attention_forward(Tensor, Tensor, Tensor, Tensor, Tensor, const AttentionOptions&) override {
  }
  void attention_backward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                          const AttentionOptions&) override {}
  void attention_decode(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float) override {}
  void cache_append(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void dropout(Tensor, Tensor, const Dropout&) override {}
  void cross_entropy_forward(Tensor, Tensor, Tensor, int64_t) override {}
  void cross_entropy_backward(Tensor, Tensor, Tensor, int64_t, Tensor) override {}
  void accumulate_sum(Tensor, Tensor, float) override {}
  void squared_norm(Tensor, Tensor) override {}
  void prepare_update(const UpdateState&, Tensor, Tensor, Tensor, float) override {}
  void adamw_update(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, const UpdateState&,
                    const AdamWOptions&) override {}

 private:
  std::string name_;
  int64_t vocab_multiple_, memory_available_;
  MemoryByPurpose& usage_;
};

}  // namespace

std::unique_ptr<Backend> make_plan_backend(const Backend& real, MemoryByPurpose& usage) {
  return std::make_unique<PlanBackend>(real, usage);
}

}  // namespace llm
