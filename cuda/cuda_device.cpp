#include "cuda/cuda_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace llm {
namespace {

std::string error_text(cudaError_t status) {
  return fmt::format("{} ({})", cudaGetErrorString(status), cudaGetErrorName(status));
}

}  // namespace

int cuda_device_count(std::string& reason) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  reason =
      status == cudaSuccess || status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver
          ? "no NVIDIA GPU with a driver for it here"
          : fmt::format("the GPU cannot be used: {}", error_text(status));
  (void)cudaGetLastError();
  return 0;
}

namespace cuda {
namespace {

// What the driver and the libraries take while a run goes on: code of kernels, handles.
constexpr int64_t kReserve = int64_t{300} << 20;

class Memory final : public DeviceMemory {
 public:
  Memory(int64_t bytes, std::shared_ptr<MemoryCount> taken) : taken_(std::move(taken)) {
    bytes_ = bytes;
    taken_->now += bytes;
  }
  ~Memory() override {
    cudaFree(data_);
    taken_->now -= bytes_;
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  cudaError_t take() {
    return cudaMalloc(&data_, static_cast<size_t>(std::max<int64_t>(bytes_, 1)));
  }

 private:
  std::shared_ptr<MemoryCount> taken_;
};

class Recording final : public CapturedWork {
 public:
  explicit Recording(cudaGraph_t graph) {
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "preparing a recording of the step");
  }
  ~Recording() override { cudaGraphExecDestroy(executable_); }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  void launch(cudaStream_t stream) const {
    check(cudaGraphLaunch(executable_, stream), "repeating a recording of the step");
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

std::string open_device(int device) {
  check(cudaSetDevice(device), fmt::format("choosing GPU {}", device));
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "asking for the GPU's properties");
  if (properties.major < 8) {
    throw Error(ErrorKind::device, fmt::format("cuda:{} {}", device, properties.name),
                fmt::format("compute capability {}.{}, at least 8.0 is needed", properties.major,
                            properties.minor),
                "use --device cpu");
  }
  return fmt::format("cuda:{} {}", device, properties.name);
}

}  // namespace

Stream::Stream() {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
}
Stream::~Stream() { cudaStreamDestroy(stream_); }

CudaEvent::CudaEvent() { check(cudaEventCreate(&event_), "making an event"); }
CudaEvent::~CudaEvent() { cudaEventDestroy(event_); }

StagingRing::~StagingRing() {
  for (Slot& slot : slots_) {
    if (slot.memory) cudaFreeHost(slot.memory);
  }
}

void StagingRing::copy(void* to, const void* from, int64_t bytes, cudaStream_t stream) {
  for (int64_t begin = 0; begin < bytes; begin += kSlotBytes) {
    const auto size = static_cast<size_t>(std::min(kSlotBytes, bytes - begin));
    Slot& slot = slots_[static_cast<size_t>(next_)];
    next_ = (next_ + 1) % kSlots;
    if (!slot.memory) {
      check(cudaMallocHost(&slot.memory, kSlotBytes), "taking pinned memory");
      slot.free = std::make_unique<CudaEvent>();
    } else {
      check(cudaEventSynchronize(slot.free->get()), "copying to the GPU");
    }
    std::memcpy(slot.memory, static_cast<const char*>(from) + begin, size);
    check(cudaMemcpyAsync(static_cast<char*>(to) + begin, slot.memory, size, cudaMemcpyHostToDevice,
                          stream),
          "copying to the GPU");
    check(cudaEventRecord(slot.free->get(), stream), "copying to the GPU");
  }
}

CudaDevice::CudaDevice(const CudaOptions& options)
    : device_(options.device),
      name_(open_device(options.device)),
      memory_limit_(options.memory_limit) {}

CudaDevice::~CudaDevice() { cudaDeviceSynchronize(); }

int64_t CudaDevice::memory_available() const {
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for free memory");
  const int64_t left = static_cast<int64_t>(free) - kReserve;
  const int64_t allowed = memory_limit_ > 0 ? memory_limit_ - taken_->now : left;
  return std::max<int64_t>(0, std::min(left, allowed));
}

int64_t CudaDevice::memory_total() const {
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for memory");
  const auto bytes = static_cast<int64_t>(total);
  return memory_limit_ > 0 ? std::min(memory_limit_, bytes) : bytes;
}

int64_t CudaDevice::foreign_memory() const {
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for memory");
  return static_cast<int64_t>(total - free) - taken_->now;
}

std::unique_ptr<DeviceMemory> CudaDevice::allocate(int64_t bytes, const std::string& purpose) {
  LLM_ASSERT(bytes >= 0, "{} bytes for {}", bytes, purpose);
  LLM_ASSERT(!capturing_, "memory for {} while recording", purpose);
  auto memory = std::make_unique<Memory>(bytes, taken_);
  const bool allowed = memory_limit_ == 0 || taken_->now <= memory_limit_;
  const cudaError_t status = allowed ? memory->take() : cudaErrorMemoryAllocation;
  if (status == cudaSuccess) {
    taken_->most = std::max(taken_->most, taken_->now);
    return memory;
  }
  (void)cudaGetLastError();
  if (status != cudaErrorMemoryAllocation) check(status, fmt::format("memory for {}", purpose));
  memory.reset();
  throw Error(ErrorKind::memory, purpose,
              fmt::format("{} bytes needed, {} available on {}", with_commas(bytes),
                          with_commas(memory_available()), name_),
              "a smaller batch, context or model needs less");
}

void CudaDevice::copy_to_device(Tensor to, const void* from) {
  LLM_ASSERT(to.contiguous() && !capturing_, "copy to {}", to.describe());
  if (to.bytes() == 0) return;
  last_op_ = {};
  staging_.copy(to.data, from, to.bytes(), compute());
}

void CudaDevice::copy_to_host(void* to, Tensor from, Queue queue) {
  LLM_ASSERT(from.contiguous() && !capturing_, "copy from {}", from.describe());
  if (from.bytes() == 0) return;
  const cudaStream_t stream = stream_of(queue);
  check(cudaMemcpyAsync(to, from.data, static_cast<size_t>(from.bytes()), cudaMemcpyDeviceToHost,
                        stream),
        "copying from the GPU");
  check(cudaStreamSynchronize(stream), fmt::format("waiting for {}", from.describe()));
}

cudaStream_t CudaDevice::stream_of(Queue queue) const {
  return streams_[static_cast<size_t>(queue)];
}

std::unique_ptr<Event> CudaDevice::record(Queue queue) {
  auto event = std::make_unique<CudaEvent>();
  check(cudaEventRecord(event->get(), stream_of(queue)), "recording an event");
  return event;
}

void CudaDevice::wait(Queue queue, const Event& event) {
  last_op_ = {};
  check(cudaStreamWaitEvent(stream_of(queue), static_cast<const CudaEvent&>(event).get(), 0),
        "waiting for an event");
}

double CudaDevice::seconds_between(const Event& begin, const Event& end) {
  const cudaEvent_t first = static_cast<const CudaEvent&>(begin).get();
  const cudaEvent_t second = static_cast<const CudaEvent&>(end).get();
  check(cudaEventSynchronize(second), "waiting for an event");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, first, second), "comparing events");
  return milliseconds / 1e3;
}

void CudaDevice::synchronize() {
  for (const Stream& stream : streams_) check(cudaStreamSynchronize(stream), "waiting for the GPU");
}

std::unique_ptr<CapturedWork> CudaDevice::capture(const std::function<void()>& work) {
  if (profiling_) return nullptr;  // single ops are to be timed
  check(cudaStreamBeginCapture(compute(), cudaStreamCaptureModeThreadLocal), "recording the step");
  capturing_ = true;
  last_op_ = {};
  const auto end = [&] {
    capturing_ = false;
    last_op_ = {};
    cudaGraph_t graph = nullptr;
    const cudaError_t status = cudaStreamEndCapture(compute(), &graph);
    return std::pair(status, graph);
  };
  try {
    work();
  } catch (...) {
    if (const auto [status, graph] = end(); graph) cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    throw;
  }
  const auto [status, graph] = end();
  check(status, "recording the step");
  recorded_ = true;
  return std::make_unique<Recording>(graph);
}

void CudaDevice::replay(const CapturedWork& work) {
  last_op_ = {};
  static_cast<const Recording&>(work).launch(compute());
}

void CudaDevice::reserve_scratch(int64_t bytes) {
  if (scratch_ && scratch_->bytes() >= bytes) return;
  LLM_ASSERT(!capturing_, "{} bytes of scratch while recording", bytes);
  synchronize();
  // A recording goes on to use the memory that it was made with.
  if (scratch_ && recorded_) recorded_scratch_.push_back(std::move(scratch_));
  scratch_.reset();
  scratch_ = allocate(bytes, "scratch");
}

void* CudaDevice::scratch(int64_t bytes) {
  if (bytes > 0) reserve_scratch(bytes);
  return scratch_ ? scratch_->data() : nullptr;
}

void CudaDevice::set_profiling(bool on) {
  profiling_ = on;
  if (on) spans_.clear();
}

void CudaDevice::profile_begin(const char* op, const Tensor& shape) {
  spans_.push_back(
      {op, shape.describe(), std::make_unique<CudaEvent>(), std::make_unique<CudaEvent>()});
  check(cudaEventRecord(spans_.back().begin->get(), compute()), "recording an event");
}

void CudaDevice::profile_end() {
  check(cudaEventRecord(spans_.back().end->get(), compute()), "recording an event");
}

std::vector<OpTime> CudaDevice::op_times() {
  std::map<std::pair<std::string, std::string>, OpTime> sums;
  for (const Span& span : spans_) {
    OpTime& time = sums[{span.op, span.shape}];
    time.op = span.op;
    time.shape = span.shape;
    ++time.calls;
    time.seconds += seconds_between(*span.begin, *span.end);
  }
  spans_.clear();
  std::vector<OpTime> result;
  for (auto& [key, time] : sums) result.push_back(time);
  return result;
}

void CudaDevice::launch_failed(cudaError_t status, const char* op, const Tensor& shape) const {
  (void)cudaGetLastError();
  check(status, fmt::format("{}: {} of {}", name_, op, shape.describe()));
  LLM_ASSERT(false);
  std::abort();
}

}  // namespace cuda
}  // namespace llm
