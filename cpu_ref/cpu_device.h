// What the CPU backend is apart from its ops: memory, copies, queues and threads.
#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"
#include "cpu_ref/cpu_backend.h"
#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

class CpuDevice : public Backend {
 public:
  explicit CpuDevice(const CpuOptions& options);

  std::string name() const override;
  bool is_host() const override { return true; }
  int64_t memory_available() const override;
  int64_t memory_total() const override;
  int64_t vocab_multiple() const override { return 16; }  // two AVX registers

  std::unique_ptr<DeviceMemory> allocate(int64_t bytes, const std::string& purpose) override;
  void copy_to_device(Tensor to, const void* from) override;
  using Backend::copy_to_host;
  void copy_to_host(void* to, Tensor from, Queue queue) override;
  // Every call ends before it returns.
  std::unique_ptr<Event> record(Queue) override;
  void wait(Queue, const Event&) override {}
  double seconds_between(const Event& begin, const Event& end) override;
  void synchronize() override {}

 private:
  ThreadPool pool_;

 protected:
  const Threads threads_;
  const bool plain_;  // the ops take only the plain loops
};

}  // namespace llm::cpu_ref
