// What the CUDA backend is apart from its ops: memory, copies, queues, events, recordings, scratch.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "cuda/cuda_backend.h"
#include "cuda/cuda_check.h"

namespace llm::cuda {

// RAII for what the runtime hands out.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }  // NOLINT: it stands for the handle

 private:
  cudaStream_t stream_ = nullptr;
};

class CudaEvent final : public Event {
 public:
  CudaEvent();
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

// Bytes of all allocations of one device.
struct MemoryCount {
  int64_t now = 0, most = 0;
};

// Pinned host memory in slots that are used in turn: what is to be copied to the device waits here,
// so that the caller may go on.
class StagingRing {
 public:
  ~StagingRing();
  // Copies `bytes` from pageable memory to the device in the order of the stream.
  void copy(void* to, const void* from, int64_t bytes, cudaStream_t stream);

 private:
  static constexpr int kSlots = 4;
  static constexpr int64_t kSlotBytes = int64_t{4} << 20;
  struct Slot {
    void* memory = nullptr;
    std::unique_ptr<CudaEvent> free;  // recorded behind the copy out of it
  };
  std::array<Slot, kSlots> slots_;
  int next_ = 0;
};

class CudaDevice : public Backend {
 public:
  explicit CudaDevice(const CudaOptions& options);
  ~CudaDevice() override;

  std::string name() const override { return name_; }
  bool is_host() const override { return false; }
  int64_t memory_available() const override;
  int64_t memory_total() const override;
  int64_t foreign_memory() const override;
  int64_t peak_memory() const override { return taken_->most; }
  // Whole tiles of matrix products, and the 16 bytes of TMA; makes GPT-2's 50,257 tokens 50,304.
  int64_t vocab_multiple() const override { return 128; }

  std::unique_ptr<DeviceMemory> allocate(int64_t bytes, const std::string& purpose) override;
  void copy_to_device(Tensor to, const void* from) override;
  using Backend::copy_to_host;
  void copy_to_host(void* to, Tensor from, Queue queue) override;
  std::unique_ptr<Event> record(Queue queue) override;
  void wait(Queue queue, const Event& event) override;
  double seconds_between(const Event& begin, const Event& end) override;
  void synchronize() override;

  std::unique_ptr<CapturedWork> capture(const std::function<void()>& work) override;
  void replay(const CapturedWork& work) override;

  void reserve_scratch(int64_t bytes) override;

  cudaStream_t stream_of(Queue queue) const;

  void set_profiling(bool on) override;
  std::vector<OpTime> op_times() override;

 protected:
  cudaStream_t compute() const { return streams_[0]; }
  // Scratch of at least so many bytes, aligned to 256; grows where it was not reserved.
  void* scratch(int64_t bytes);

  // Calls body(), which launches an op, and checks the launch; `shape` is for messages and profile.
  template <typename Body>
  void run(const char* op, const Tensor& shape, const Body& body) {
    last_op_ = {};
    if (profiling_) {
      profile_begin(op, shape);
      body();
      profile_end();
    } else {
      body();
    }
    last_op_ = op;
    const cudaError_t status = cudaPeekAtLastError();
    if (status != cudaSuccess) [[unlikely]]
      launch_failed(status, op, shape);
  }
  // The op that run() launched, if it was the last work on the compute stream.
  std::string_view last_op() const { return last_op_; }

  const int device_;
  bool capturing_ = false;

 private:
  void profile_begin(const char* op, const Tensor& shape);
  void profile_end();
  [[noreturn]] void launch_failed(cudaError_t status, const char* op, const Tensor& shape) const;

  std::string name_;
  int64_t memory_limit_;
  std::shared_ptr<MemoryCount> taken_ = std::make_shared<MemoryCount>();
  std::array<Stream, 3> streams_;
  StagingRing staging_;
  std::unique_ptr<DeviceMemory> scratch_;
  std::vector<std::unique_ptr<DeviceMemory>> recorded_scratch_;  // outgrown, but in recordings
  bool recorded_ = false;

  std::string_view last_op_;
  bool profiling_ = false;
  struct Span {
    std::string op, shape;
    std::unique_ptr<CudaEvent> begin, end;
  };
  std::vector<Span> spans_;
};

}  // namespace llm::cuda
