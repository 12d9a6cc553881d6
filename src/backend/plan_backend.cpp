#include "backend/plan_backend.h"

#include <algorithm>
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
      : real_(real), name_("plan of " + real.name()), usage_(usage) {}

  std::string name() const override { return name_; }
  bool is_host() const override { return false; }
  int64_t memory_available() const override { return real_.memory_available(); }
  int64_t memory_total() const override { return real_.memory_total(); }
  int64_t vocab_multiple() const override { return real_.vocab_multiple(); }

  std::unique_ptr<DeviceMemory> allocate(int64_t bytes, const std::string& purpose) override {
    usage_[purpose] += bytes;
    return std::make_unique<PlannedMemory>(bytes);
  }
  void copy_to_device(Tensor, const void*) override {}
  using Backend::copy_to_host;
  void copy_to_host(void* to, Tensor from, Queue) override {
    std::memset(to, 0, static_cast<size_t>(from.bytes()));
  }
  std::unique_ptr<Event> record(Queue) override { return std::make_unique<Event>(); }
  void wait(Queue, const Event&) override {}
  double seconds_between(const Event&, const Event&) override { return 0; }
  int64_t scratch_bytes(const std::string& op, Tensor first, Tensor second) const override {
    return real_.scratch_bytes(op, first, second);
  }
  void reserve_scratch(int64_t bytes) override {
    if (bytes > 0) usage_["scratch"] = std::max(usage_["scratch"], bytes);
  }
  void synchronize() override {}

  void fill(Tensor, double) override {}
  void convert(Tensor, Tensor) override {}
  void add(Tensor, Tensor, Tensor) override {}
  void scale(Tensor, Tensor) override {}
  void embedding_forward(Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void embedding_backward(Tensor, Tensor, Tensor dy, Tensor, Tensor) override {
    note("embedding_backward", dy, {});
  }
  void layernorm_forward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float) override {}
  void layernorm_backward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor x, Tensor, Tensor, Tensor,
                          bool) override {
    note("layernorm_backward", x, {});
  }
  void linear_forward(Tensor y, Tensor, const Weight& weight, Tensor) override {
    note("linear_forward", y, weight.data);
  }
  void linear_gelu_forward(Tensor y, Tensor, Tensor, const Weight& weight, Tensor) override {
    note("linear_forward", y, weight.data);
  }
  void linear_backward(Tensor, Tensor, Tensor, Tensor dy, Tensor, const Weight& weight,
                       bool) override {
    note("linear_backward", dy, weight.data);
  }
  void linear_backward_gelu(Tensor, Tensor, Tensor, Tensor, Tensor dy, Tensor, Tensor,
                            const Weight& weight) override {
    note("linear_backward", dy, weight.data);
  }
  void scale_rows(Tensor, Tensor) override {}
  void zero_other_columns(Tensor, int64_t, int64_t) override {}
  void pool_forward(Tensor, Tensor, Tensor, Tensor) override {}
  void pool_backward(Tensor, Tensor, Tensor, Tensor) override {}
  void bias_backward(Tensor, Tensor dy) override { note("bias_backward", dy, {}); }
  void gelu_forward(Tensor, Tensor) override {}
  void gelu_backward(Tensor, Tensor, Tensor) override {}
  void attention_forward(Tensor, Tensor, Tensor q, Tensor k, Tensor,
                         const AttentionOptions&) override {
    note("attention_forward", q, k);
  }
  void attention_backward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor q, Tensor k,
                          Tensor, const AttentionOptions& options) override {
    note(options.dropout.rate > 0 ? "attention_backward dropout" : "attention_backward", q, k);
  }
  void attention_decode(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float) override {}
  void cache_append(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void sample_tokens(const SampledSequences&, Tensor, int64_t, const SamplingOptions&) override {}
  void dropout(Tensor, Tensor, const Dropout&) override {}
  void cross_entropy_forward(Tensor, Tensor, Tensor, int64_t) override {}
  void cross_entropy_backward(Tensor, Tensor, Tensor, int64_t, Tensor) override {}
  void accumulate_sum(Tensor, Tensor, Tensor) override {}
  void squared_norm(Tensor, Tensor) override {}
  void prepare_update(const UpdateState&, Tensor, Tensor, Tensor, float) override {}
  void adamw_update(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, const UpdateState&,
                    const AdamWOptions&) override {}

 private:
  void note(const char* op, const Tensor& first, const Tensor& second) {
    reserve_scratch(real_.scratch_bytes(op, first, second));
  }

  const Backend& real_;
  std::string name_;
  MemoryByPurpose& usage_;
};

}  // namespace

std::unique_ptr<Backend> make_plan_backend(const Backend& real, MemoryByPurpose& usage) {
  return std::make_unique<PlanBackend>(real, usage);
}

}  // namespace llm
