#include "support/memory_backend.h"

#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace llm::test {
namespace {

// Added to the addresses of device memory: no process has anything there.
constexpr uintptr_t kFarAway = uintptr_t{1} << 56;

class Memory final : public DeviceMemory {
 public:
  Memory(int64_t bytes, bool host) : storage_(static_cast<size_t>(bytes)) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(storage_.data());
    data_ = reinterpret_cast<void*>(host ? address : address + kFarAway);
    bytes_ = bytes;
  }

 private:
  std::vector<std::byte> storage_;
};

class MemoryBackend final : public Backend {
 public:
  explicit MemoryBackend(bool host) : host_(host) {}

  std::string name() const override { return host_ ? "host memory" : "device memory"; }
  bool is_host() const override { return host_; }
  int64_t memory_available() const override { return int64_t{1} << 30; }
  int64_t memory_total() const override { return int64_t{1} << 30; }
  int64_t vocab_multiple() const override { return 1; }
  std::unique_ptr<DeviceMemory> allocate(int64_t bytes, const std::string&) override {
    return std::make_unique<Memory>(bytes, host_);
  }
  void copy_to_device(Tensor to, const void* from) override {
    std::memcpy(address(to), from, static_cast<size_t>(to.bytes()));
  }
  using Backend::copy_to_host;
  void copy_to_host(void* to, Tensor from, Queue) override {
    std::memcpy(to, address(from), static_cast<size_t>(from.bytes()));
  }
  std::string plan() const override { return plan_; }
  void load_plan(const std::string& text, const std::string&) override { plan_ = text; }
  std::unique_ptr<Event> record(Queue) override { return std::make_unique<Event>(); }
  void wait(Queue, const Event&) override {}
  double seconds_between(const Event&, const Event&) override { return 0; }
  void synchronize() override {}

  void fill(Tensor, double) override { no_op(); }
  void convert(Tensor, Tensor) override { no_op(); }
  void add(Tensor, Tensor, Tensor) override { no_op(); }
  void scale(Tensor, Tensor) override { no_op(); }
  void scale_rows(Tensor, Tensor) override { no_op(); }
  void zero_other_columns(Tensor, int64_t, int64_t) override { no_op(); }
  void pool_forward(Tensor, Tensor, Tensor, Tensor) override { no_op(); }
  void pool_backward(Tensor, Tensor, Tensor, Tensor) override { no_op(); }
  void embedding_forward(Tensor, Tensor, Tensor, Tensor, Tensor) override { no_op(); }
  void embedding_backward(Tensor, Tensor, Tensor, Tensor, Tensor) override { no_op(); }
  void layernorm_forward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float) override {
    no_op();
  }
  void layernorm_backward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                          bool) override {
    no_op();
  }
  void bias_backward(Tensor, Tensor) override { no_op(); }
  void linear_forward(Tensor, Tensor, const Weight&, Tensor) override { no_op(); }
  void linear_backward(Tensor, Tensor, Tensor, Tensor, Tensor, const Weight&, bool) override {
    no_op();
  }
  void gelu_forward(Tensor, Tensor) override { no_op(); }
  void gelu_backward(Tensor, Tensor, Tensor) override { no_op(); }
  void attention_forward(Tensor, Tensor, Tensor, Tensor, Tensor, const AttentionOptions&) override {
    no_op();
  }
  void attention_backward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                          const AttentionOptions&) override {
    no_op();
  }
  void attention_decode(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float) override { no_op(); }
  void cache_append(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) override { no_op(); }
  void sample_tokens(const SampledSequences&, Tensor, int64_t, const SamplingOptions&) override {
    no_op();
  }
  void dropout(Tensor, Tensor, const Dropout&) override { no_op(); }
  void cross_entropy_forward(Tensor, Tensor, Tensor, int64_t) override { no_op(); }
  void cross_entropy_backward(Tensor, Tensor, Tensor, int64_t, Tensor) override { no_op(); }
  void accumulate_sum(Tensor, Tensor, Tensor) override { no_op(); }
  void squared_norm(Tensor, Tensor) override { no_op(); }
  void prepare_update(const UpdateState&, Tensor, Tensor, Tensor, float) override { no_op(); }
  void adamw_update(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, const UpdateState&,
                    const AdamWOptions&) override {
    no_op();
  }

 private:
  void* address(const Tensor& tensor) const {
    const uintptr_t given = reinterpret_cast<uintptr_t>(tensor.data);
    return reinterpret_cast<void*>(host_ ? given : given - kFarAway);
  }
  [[noreturn]] static void no_op() {
    LLM_ASSERT(false, "this backend has only memory");
    std::abort();
  }

  std::string plan_;
  bool host_;
};

}  // namespace

std::unique_ptr<Backend> make_memory_backend(bool host) {
  return std::make_unique<MemoryBackend>(host);
}

}  // namespace llm::test
