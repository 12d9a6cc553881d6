// NCCL (NVIDIA, "NVIDIA collective communications library", 2.x). A run is one communicator with
// one GPU per process. Processes meet through a HostGroup, which stays for the values of the host.
#include "cuda/nccl_comm.h"

#include "base/error.h"

#ifndef LLM_HAVE_NCCL

namespace llm::cuda {

bool nccl_available(std::string& reason) {
  reason = "this build has no NCCL";
  return false;
}

std::unique_ptr<Comm> make_nccl_comm(Backend&, const CudaStreams&, double) {
  std::string reason;
  (void)nccl_available(reason);
  throw Error(ErrorKind::device, "NCCL", reason, "build where nccl.h is found");
}

}  // namespace llm::cuda

#else

#include <dlfcn.h>
#include <nccl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>

#include "backend/host_group.h"
#include "backend/watchdog.h"
#include "cuda/collective_watch.h"
#include "cuda/cuda_check.h"

namespace llm::cuda {
namespace {

constexpr int kExitCode = static_cast<int>(ErrorKind::device);
constexpr int kOldestVersion = 21800;  // 2.18

// The functions of the library that are used here.
struct Library {
  decltype(&ncclGetVersion) get_version;
  decltype(&ncclGetErrorString) error_string;
  decltype(&ncclGetLastError) last_error;
  decltype(&ncclGetUniqueId) unique_id;
  decltype(&ncclCommInitRank) init;
  decltype(&ncclCommGetAsyncError) async_error;
  decltype(&ncclCommDestroy) destroy;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclReduceScatter) reduce_scatter;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclBroadcast) broadcast;
};

template <typename Function>
void find(void* handle, const char* name, Function& function, std::string& missing) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  if (!function) missing = name;
}

// Null and the reason where it is not here. It stays loaded.
const Library* library(std::string& reason) {
  static Library functions{};
  void* handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    reason = dlerror();
    return nullptr;
  }
  std::string missing;
  find(handle, "ncclGetVersion", functions.get_version, missing);
  find(handle, "ncclGetErrorString", functions.error_string, missing);
  find(handle, "ncclGetLastError", functions.last_error, missing);
  find(handle, "ncclGetUniqueId", functions.unique_id, missing);
  find(handle, "ncclCommInitRank", functions.init, missing);
  find(handle, "ncclCommGetAsyncError", functions.async_error, missing);
  find(handle, "ncclCommDestroy", functions.destroy, missing);
  find(handle, "ncclAllReduce", functions.all_reduce, missing);
  find(handle, "ncclReduceScatter", functions.reduce_scatter, missing);
  find(handle, "ncclAllGather", functions.all_gather, missing);
  find(handle, "ncclBroadcast", functions.broadcast, missing);
  if (!missing.empty()) {
    reason = fmt::format("libnccl.so.2 has no {}", missing);
    return nullptr;
  }
  int version = 0;
  if (functions.get_version(&version) != ncclSuccess || version < kOldestVersion) {
    reason =
        fmt::format("NCCL of version number {}, {} or later is needed", version, kOldestVersion);
    return nullptr;
  }
  return &functions;
}

ncclDataType_t number_type(const Tensor& x) {
  switch (x.dtype) {
    case DType::f32:
      return ncclFloat32;
    case DType::i32:
      return ncclInt32;
    case DType::i64:
      return ncclInt64;
    default:
      LLM_ASSERT(false, "reduction of {}", x.describe());
  }
  return ncclUint8;
}

ncclRedOp_t operation(const Tensor& x, Reduce reduce) {
  // NCCL would lose a NaN in these.
  LLM_ASSERT(reduce == Reduce::sum || x.dtype != DType::f32, "maximum or minimum of {}",
             x.describe());
  return reduce == Reduce::sum ? ncclSum : reduce == Reduce::max ? ncclMax : ncclMin;
}

class NcclComm final : public Comm {
 public:
  NcclComm(const Library& nccl, std::unique_ptr<HostGroup> group, const CudaStreams& streams,
           double timeout_seconds);
  ~NcclComm() override;

  int rank() const override { return group_->rank(); }
  int ranks() const override { return group_->ranks(); }
  std::string name() const override { return "NCCL"; }

  void all_reduce(Tensor x, Reduce reduce) override;
  void start_all_reduce(Tensor x, Reduce reduce) override;
  void join() override;
  void reduce_scatter(Tensor y, Tensor x) override;
  void all_gather(Tensor y, Tensor x) override;
  void broadcast(Tensor x, int root) override;
  void barrier() override { group_->barrier(); }
  int64_t all_reduce(int64_t value, Reduce reduce) override {
    return group_->all_reduce(value, reduce);
  }
  double all_reduce(double value, Reduce reduce) override {
    return group_->all_reduce(value, reduce);
  }
  void set_step(int64_t step) override;

 private:
  std::string who() const { return fmt::format("rank {} of {}", rank(), ranks()); }
  // Throws if a call of NCCL did not succeed.
  void check_nccl(ncclResult_t result, const std::string& what) const;
  [[noreturn]] void end_process(const std::string& what) const;
  std::string asynchronous_problem() const;
  // Puts a collective behind what the compute stream has.
  template <typename Call>
  void start(const char* collective, const Call& call);

  const Library& nccl_;
  const std::unique_ptr<HostGroup> group_;
  const CudaStreams streams_;
  const int exceptions_ = std::uncaught_exceptions();
  cudaEvent_t event_ = nullptr;
  ncclComm_t comm_ = nullptr;
  Watchdog watchdog_;                     // for what the host waits for
  std::optional<CollectiveWatch> watch_;  // for what the GPU does
};

NcclComm::NcclComm(const Library& nccl, std::unique_ptr<HostGroup> group,
                   const CudaStreams& streams, double timeout_seconds)
    : nccl_(nccl),
      group_(std::move(group)),
      streams_(streams),
      watchdog_(timeout_seconds, [this](const std::string& what) { end_process(what); }) {
  ncclUniqueId id{};
  if (rank() == 0) check_nccl(nccl_.unique_id(&id), "start");
  group_->share(std::as_writable_bytes(std::span(&id, 1)));
  {
    const Watchdog::Guard guard(watchdog_, "the start of NCCL");
    check_nccl(nccl_.init(&comm_, ranks(), id, rank()), "start");
  }
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event");
  watch_.emplace(
      streams_.communication, timeout_seconds, [this] { return asynchronous_problem(); },
      [this](const std::string& what) { end_process(what); });
}

NcclComm::~NcclComm() {
  // When this rank ends because of an error, the others may never come to what is queued here. The
  // process ends without waiting for it, and the launcher ends the rest.
  const bool failed = std::uncaught_exceptions() > exceptions_;
  if (!failed) cudaStreamSynchronize(streams_.communication);  // under watch
  watch_.reset();
  if (failed) return;
  const Watchdog::Guard guard(watchdog_, "the end of the run");
  cudaEventDestroy(event_);
  nccl_.destroy(comm_);
}

void NcclComm::set_step(int64_t step) {
  group_->set_step(step);
  watchdog_.set_step(step);
  watch_->set_step(step);
}

void NcclComm::check_nccl(ncclResult_t result, const std::string& what) const {
  if (result == ncclSuccess) return;
  const char* details = nccl_.last_error(nullptr);
  throw Error(ErrorKind::device, who(),
              fmt::format("{}: NCCL says: {}{}{}", what, nccl_.error_string(result),
                          details && *details ? ": " : "", details ? details : ""),
              "NCCL_DEBUG=INFO makes it say more");
}

void NcclComm::end_process(const std::string& what) const {
  // The main thread is somewhere inside NCCL or CUDA, so nothing can be given back.
  fmt::print(stderr, "llm: {}: {} (another process died, hangs or is much slower)\n", who(), what);
  std::fflush(nullptr);
  _exit(kExitCode);
}

std::string NcclComm::asynchronous_problem() const {
  ncclResult_t state = ncclSuccess;
  const ncclResult_t result = nccl_.async_error(comm_, &state);
  if (result == ncclSuccess && (state == ncclSuccess || state == ncclInProgress)) return {};
  const char* details = nccl_.last_error(comm_);
  return fmt::format("NCCL says: {} {}", nccl_.error_string(result == ncclSuccess ? state : result),
                     details ? details : "");
}

template <typename Call>
void NcclComm::start(const char* collective, const Call& call) {
  check(cudaEventRecord(event_, streams_.compute), collective);
  check(cudaStreamWaitEvent(streams_.communication, event_, 0), collective);
  const CollectiveWatch::Guard guard(*watch_, collective);
  check_nccl(call(), watch_->describe(collective));
}

void NcclComm::join() {
  check(cudaEventRecord(event_, streams_.communication), "waiting for a collective");
  check(cudaStreamWaitEvent(streams_.compute, event_, 0), "waiting for a collective");
}

void NcclComm::start_all_reduce(Tensor x, Reduce reduce) {
  LLM_ASSERT(x.contiguous(), "{}", x.describe());
  start("all-reduce", [&] {
    return nccl_.all_reduce(x.data, x.data, static_cast<size_t>(x.size()), number_type(x),
                            operation(x, reduce), comm_, streams_.communication);
  });
}

void NcclComm::all_reduce(Tensor x, Reduce reduce) {
  start_all_reduce(x, reduce);
  join();
}

void NcclComm::reduce_scatter(Tensor y, Tensor x) {
  LLM_ASSERT(
      x.dtype == y.dtype && x.size() == y.size() * ranks() && x.contiguous() && y.contiguous(),
      "{} to {} with {} ranks", x.describe(), y.describe(), ranks());
  start("reduce-scatter", [&] {
    return nccl_.reduce_scatter(x.data, y.data, static_cast<size_t>(y.size()), number_type(x),
                                ncclSum, comm_, streams_.communication);
  });
  join();
}

void NcclComm::all_gather(Tensor y, Tensor x) {
  LLM_ASSERT(
      x.dtype == y.dtype && y.size() == x.size() * ranks() && x.contiguous() && y.contiguous(),
      "{} to {} with {} ranks", x.describe(), y.describe(), ranks());
  start("all-gather", [&] {
    return nccl_.all_gather(x.data, y.data, static_cast<size_t>(x.bytes()), ncclUint8, comm_,
                            streams_.communication);
  });
  join();
}

void NcclComm::broadcast(Tensor x, int root) {
  LLM_ASSERT(root >= 0 && root < ranks() && x.contiguous(), "{} from {} of {} ranks", x.describe(),
             root, ranks());
  start("broadcast", [&] {
    return nccl_.broadcast(x.data, x.data, static_cast<size_t>(x.bytes()), ncclUint8, root, comm_,
                           streams_.communication);
  });
  join();
}

}  // namespace

bool nccl_available(std::string& reason) { return library(reason) != nullptr; }

std::unique_ptr<Comm> make_nccl_comm(Backend& backend, const CudaStreams& streams,
                                     double timeout_seconds) {
  std::string reason;
  const Library* nccl = library(reason);
  if (!nccl) {
    throw Error(ErrorKind::device, "NCCL", reason,
                "put the folder of libnccl.so.2 on LD_LIBRARY_PATH");
  }
  return std::make_unique<NcclComm>(*nccl, make_host_group(backend, timeout_seconds), streams,
                                    timeout_seconds);
}

}  // namespace llm::cuda

#endif  // LLM_HAVE_NCCL
