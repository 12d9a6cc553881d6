// Collectives between CPU processes through MPI (MPI Forum, "MPI: A Message-Passing Interface
// Standard", 3.1). Device tensors are staged through the host.
//
// Sums are not left to MPI_Allreduce, whose order of additions is the library's own affair: every
// rank gets all contributions to its part, adds them up in the order of the ranks (float32 in
// double precision), and the parts are gathered. So every rank and every repetition get the same
// bits.
#include "backend/comm.h"
#include "base/error.h"

#ifndef LLM_HAVE_MPI

namespace llm {

std::unique_ptr<Comm> make_mpi_comm(Backend&, double) {
  fail_usage("mpirun", "this build has no MPI",
             "install libopenmpi-dev and build again, or start one process");
}

}  // namespace llm

#else

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

#include "backend/launcher.h"
#include "backend/watchdog.h"

namespace llm {
namespace {

// Tensors travel in pieces of this size, so that the buffers stay small and counts fit an int.
constexpr int64_t kPieceBytes = int64_t{4} << 20;
// Below this, one message to everyone costs less than two rounds.
constexpr int64_t kSmallBytes = 16 << 10;

constexpr int kExitCode = static_cast<int>(ErrorKind::device);

// y[i] = x[0][i] + x[1][i] + ..., added in this order (or the largest or smallest of them).
//   y: (count)   x: (ranks, count)
template <typename T>
void reduce_rows(T* y, const T* x, int64_t count, int ranks, Reduce reduce) {
  using Wide = std::conditional_t<std::is_floating_point_v<T>, double, int64_t>;
  for (int64_t i = 0; i < count; ++i) {
    Wide total = static_cast<Wide>(x[i]);
    for (int rank = 1; rank < ranks; ++rank) {
      total = combine(total, static_cast<Wide>(x[rank * count + i]), reduce);
    }
    y[i] = static_cast<T>(total);
  }
}

void reduce_rows(std::byte* y, const std::byte* x, DType dtype, int64_t count, int ranks,
                 Reduce reduce) {
  const auto run = [&](auto* typed_y) {
    using T = std::remove_pointer_t<decltype(typed_y)>;
    reduce_rows(typed_y, reinterpret_cast<const T*>(x), count, ranks, reduce);
  };
  switch (dtype) {
    case DType::f32:
      return run(reinterpret_cast<float*>(y));
    case DType::i32:
      return run(reinterpret_cast<int32_t*>(y));
    case DType::i64:
      return run(reinterpret_cast<int64_t*>(y));
    default:
      LLM_ASSERT(false, "reduction of {}", dtype_name(dtype));
  }
}

// Where the part of each rank begins when `count` elements are cut as evenly as possible.
int64_t part_begin(int64_t count, int ranks, int rank) { return count * rank / ranks; }

class MpiComm final : public Comm {
 public:
  MpiComm(Backend& backend, double timeout_seconds);
  ~MpiComm() override;

  int rank() const override { return rank_; }
  int ranks() const override { return ranks_; }
  std::string name() const override { return "MPI"; }

  void all_reduce(Tensor x, Reduce reduce) override;
  void reduce_scatter(Tensor y, Tensor x) override;
  void all_gather(Tensor y, Tensor x) override;
  void broadcast(Tensor x, int root) override;
  void barrier() override;
  int64_t all_reduce(int64_t value, Reduce reduce) override;
  double all_reduce(double value, Reduce reduce) override;
  void set_step(int64_t step) override { watchdog_.set_step(step); }

 private:
  // Throws if an MPI call did not succeed.
  void check(int result, const char* collective) const;
  [[noreturn]] void abort_all(const std::string& what) const;
  // The tensor's bytes in host memory: itself, or a copy in `staging`.
  std::byte* to_host(const Tensor& x, std::vector<std::byte>& staging);
  void to_device(const Tensor& x, const std::byte* host);
  std::byte* received(int64_t bytes);
  void all_reduce_small(std::byte* x, DType dtype, int64_t count, Reduce reduce);
  void all_reduce_piece(std::byte* x, DType dtype, int64_t count, Reduce reduce);
  template <typename T>
  T all_reduce_value(T value, MPI_Datatype type, Reduce reduce);

  Backend& backend_;
  int rank_ = 0, ranks_ = 1;
  const int exceptions_ = std::uncaught_exceptions();
  std::vector<std::byte> input_, output_, packed_, received_;  // grow to what was needed so far
  Watchdog watchdog_;
};

MpiComm::MpiComm(Backend& backend, double timeout_seconds)
    : backend_(backend),
      watchdog_(timeout_seconds, [this](const std::string& what) { abort_all(what); }) {
  int provided = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "start");
  check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "start");
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "start");
  check(MPI_Comm_size(MPI_COMM_WORLD, &ranks_), "start");
  if (ranks_ == 1 && find_launcher().ranks > 1) {
    MPI_Finalize();
    throw Error(ErrorKind::device, "MPI", "several processes were started, but each is alone",
                "start them with the mpirun of the MPI library this program was built with");
  }
}

MpiComm::~MpiComm() {
  // When this rank ends because of an error, the others may wait for it in a collective, and
  // MPI_Finalize would wait for them. The process ends without it, and the launcher ends the rest.
  if (std::uncaught_exceptions() > exceptions_) return;
  const Watchdog::Guard guard(watchdog_, "the end of the run");
  MPI_Finalize();
}

void MpiComm::check(int result, const char* collective) const {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw Error(ErrorKind::device, fmt::format("rank {} of {}", rank_, ranks_),
              fmt::format("{}: {}", watchdog_.describe(collective), text),
              "another process may have died; see its message");
}

void MpiComm::abort_all(const std::string& what) const {
  fmt::print(stderr, "llm: rank {} of {}: {} (another process died, hangs or is much slower)\n",
             rank_, ranks_, what);
  std::fflush(nullptr);
  // The main thread is somewhere inside MPI, so MPI_Abort may get stuck as well.
  std::thread([] {
    std::this_thread::sleep_for(std::chrono::seconds(5));
    _exit(kExitCode);
  }).detach();
  MPI_Abort(MPI_COMM_WORLD, kExitCode);
  _exit(kExitCode);
}

std::byte* MpiComm::to_host(const Tensor& x, std::vector<std::byte>& staging) {
  LLM_ASSERT(x.contiguous(), "{}", x.describe());
  if (backend_.is_host()) {
    // What is still queued must have reached the memory that is sent.
    backend_.synchronize();
    return static_cast<std::byte*>(x.data);
  }
  if (static_cast<int64_t>(staging.size()) < x.bytes()) staging.resize(x.bytes());
  backend_.copy_to_host(staging.data(), x);
  return staging.data();
}

void MpiComm::to_device(const Tensor& x, const std::byte* host) {
  if (!backend_.is_host()) backend_.copy_to_device(x, host);
}

std::byte* MpiComm::received(int64_t bytes) {
  if (static_cast<int64_t>(received_.size()) < bytes) received_.resize(bytes);
  return received_.data();
}

void MpiComm::all_reduce(Tensor x, Reduce reduce) {
  std::byte* host = to_host(x, input_);
  const Watchdog::Guard guard(watchdog_, "all-reduce");
  const int64_t width = dtype_bytes(x.dtype);
  if (x.bytes() <= kSmallBytes) {
    all_reduce_small(host, x.dtype, x.size(), reduce);
  } else {
    const int64_t piece = kPieceBytes / width;
    for (int64_t begin = 0; begin < x.size(); begin += piece) {
      all_reduce_piece(host + begin * width, x.dtype, std::min(piece, x.size() - begin), reduce);
    }
  }
  to_device(x, host);
}

void MpiComm::all_reduce_small(std::byte* x, DType dtype, int64_t count, Reduce reduce) {
  const int64_t bytes = count * dtype_bytes(dtype);
  std::byte* all = received(bytes * ranks_);
  check(MPI_Allgather(x, static_cast<int>(bytes), MPI_BYTE, all, static_cast<int>(bytes), MPI_BYTE,
                      MPI_COMM_WORLD),
        "all-reduce");
  reduce_rows(x, all, dtype, count, ranks_, reduce);
}

void MpiComm::all_reduce_piece(std::byte* x, DType dtype, int64_t count, Reduce reduce) {
  const int64_t width = dtype_bytes(dtype);
  std::vector<int> sizes(ranks_), begins(ranks_), own_sizes(ranks_), own_begins(ranks_);
  const auto part = [&](int rank) {
    return static_cast<int>(part_begin(count, ranks_, rank) * width);
  };
  const int own_bytes = part(rank_ + 1) - part(rank_);
  for (int rank = 0; rank < ranks_; ++rank) {
    begins[rank] = part(rank);
    sizes[rank] = part(rank + 1) - part(rank);
    own_sizes[rank] = own_bytes;
    own_begins[rank] = rank * own_bytes;
  }
  std::byte* all = received(int64_t{own_bytes} * ranks_);
  check(MPI_Alltoallv(x, sizes.data(), begins.data(), MPI_BYTE, all, own_sizes.data(),
                      own_begins.data(), MPI_BYTE, MPI_COMM_WORLD),
        "all-reduce");
  reduce_rows(x + part(rank_), all, dtype, own_bytes / width, ranks_, reduce);
  check(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, x, sizes.data(), begins.data(), MPI_BYTE,
                       MPI_COMM_WORLD),
        "all-reduce");
}

void MpiComm::reduce_scatter(Tensor y, Tensor x) {
  LLM_ASSERT(x.dtype == y.dtype && x.size() == y.size() * ranks_, "{} to {} with {} ranks",
             x.describe(), y.describe(), ranks_);
  const std::byte* from = to_host(x, input_);
  std::byte* to = to_host(y, output_);
  const Watchdog::Guard guard(watchdog_, "reduce-scatter");
  const int64_t width = dtype_bytes(x.dtype);
  const int64_t piece = std::max<int64_t>(kPieceBytes / width / ranks_, 1);
  for (int64_t begin = 0; begin < y.size(); begin += piece) {
    const int64_t count = std::min(piece, y.size() - begin);
    const int bytes = static_cast<int>(count * width);
    packed_.resize(int64_t{bytes} * ranks_);
    for (int rank = 0; rank < ranks_; ++rank) {
      std::memcpy(packed_.data() + int64_t{rank} * bytes, from + (rank * y.size() + begin) * width,
                  bytes);
    }
    std::byte* all = received(int64_t{bytes} * ranks_);
    check(MPI_Alltoall(packed_.data(), bytes, MPI_BYTE, all, bytes, MPI_BYTE, MPI_COMM_WORLD),
          "reduce-scatter");
    reduce_rows(to + begin * width, all, y.dtype, count, ranks_, Reduce::sum);
  }
  to_device(y, to);
}

void MpiComm::all_gather(Tensor y, Tensor x) {
  LLM_ASSERT(x.dtype == y.dtype && y.size() == x.size() * ranks_, "{} to {} with {} ranks",
             x.describe(), y.describe(), ranks_);
  const std::byte* from = to_host(x, input_);
  std::byte* to = to_host(y, output_);
  const Watchdog::Guard guard(watchdog_, "all-gather");
  const int64_t piece = std::max<int64_t>(kPieceBytes / ranks_, 1);
  for (int64_t begin = 0; begin < x.bytes(); begin += piece) {
    const int bytes = static_cast<int>(std::min(piece, x.bytes() - begin));
    // x may be a part of y, which must not be overwritten before it was sent.
    packed_.assign(from + begin, from + begin + bytes);
    std::byte* all = received(int64_t{bytes} * ranks_);
    check(MPI_Allgather(packed_.data(), bytes, MPI_BYTE, all, bytes, MPI_BYTE, MPI_COMM_WORLD),
          "all-gather");
    for (int rank = 0; rank < ranks_; ++rank) {
      std::memcpy(to + rank * x.bytes() + begin, all + int64_t{rank} * bytes, bytes);
    }
  }
  to_device(y, to);
}

void MpiComm::broadcast(Tensor x, int root) {
  LLM_ASSERT(root >= 0 && root < ranks_, "root {} of {} ranks", root, ranks_);
  std::byte* host = to_host(x, input_);
  const Watchdog::Guard guard(watchdog_, "broadcast");
  for (int64_t begin = 0; begin < x.bytes(); begin += kPieceBytes) {
    const int bytes = static_cast<int>(std::min(kPieceBytes, x.bytes() - begin));
    check(MPI_Bcast(host + begin, bytes, MPI_BYTE, root, MPI_COMM_WORLD), "broadcast");
  }
  if (rank_ != root) to_device(x, host);
}

void MpiComm::barrier() {
  const Watchdog::Guard guard(watchdog_, "barrier");
  check(MPI_Barrier(MPI_COMM_WORLD), "barrier");
}

template <typename T>
T MpiComm::all_reduce_value(T value, MPI_Datatype type, Reduce reduce) {
  const Watchdog::Guard guard(watchdog_, "all-reduce");
  std::vector<T> all(ranks_);
  check(MPI_Allgather(&value, 1, type, all.data(), 1, type, MPI_COMM_WORLD), "all-reduce");
  reduce_rows(&value, all.data(), 1, ranks_, reduce);
  return value;
}

int64_t MpiComm::all_reduce(int64_t value, Reduce reduce) {
  return all_reduce_value(value, MPI_INT64_T, reduce);
}
double MpiComm::all_reduce(double value, Reduce reduce) {
  return all_reduce_value(value, MPI_DOUBLE, reduce);
}

}  // namespace

std::unique_ptr<Comm> make_mpi_comm(Backend& backend, double timeout_seconds) {
  return std::make_unique<MpiComm>(backend, timeout_seconds);
}

}  // namespace llm

#endif  // LLM_HAVE_MPI
