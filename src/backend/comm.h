// Collectives between the ranks of one run. All are called by every rank in the same order;
// `tensors` are the same shape everywhere. Errors and time-outs throw Error{device} with step and
// collective, or end the process with that exit code where throwing is not possible.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>

#include "backend/backend.h"

namespace llm {

enum class Reduce { sum, max, min };

// What a reduction makes of the values of two ranks. A NaN anywhere is a NaN everywhere, whichever
// rank has it.
template <typename T>
T combine(T a, T b, Reduce reduce) {
  if constexpr (std::is_floating_point_v<T>) {
    if (reduce != Reduce::sum && (a != a || b != b)) return std::numeric_limits<T>::quiet_NaN();
  }
  return reduce == Reduce::sum ? a + b : reduce == Reduce::max ? std::max(a, b) : std::min(a, b);
}

class Comm {
 public:
  virtual ~Comm() = default;
  virtual int rank() const = 0;
  virtual int ranks() const = 0;
  virtual std::string name() const = 0;  // "single process", "MPI", "NCCL"
  // Collectives change nothing and may be left out. Not where there is a library below, even with
  // one rank, so that one process can try it.
  virtual bool alone() const { return false; }

  virtual void all_reduce(Tensor x, Reduce reduce) = 0;  // f32, i32 or i64, in place
  // As all_reduce, but work queued for computing meanwhile may run beside it. The result is there
  // for what is queued after join() or after any other collective of tensors.
  virtual void start_all_reduce(Tensor x, Reduce reduce) { all_reduce(x, reduce); }
  virtual void join() {}
  // In both, the small tensor may be this rank's part of the large one; with one rank it must be.
  virtual void reduce_scatter(Tensor y, Tensor x) = 0;  // x: ranks * y elements, sum
  virtual void all_gather(Tensor y, Tensor x) = 0;      // y: ranks * x elements
  virtual void broadcast(Tensor x, int root) = 0;       // any dtype
  virtual void barrier() = 0;
  // Small host values.
  virtual int64_t all_reduce(int64_t value, Reduce reduce) = 0;
  virtual double all_reduce(double value, Reduce reduce) = 0;

  // Named in the message when a collective does not return in time.
  virtual void set_step(int64_t step) = 0;
};

std::unique_ptr<Comm> make_single_comm();
// MPI over the processes started by mpirun; GPU tensors are staged through `backend`'s host copies.
// A collective that takes longer than timeout_seconds ends the process with exit code 6.
// Throws Error{usage} in a build without MPI.
std::unique_ptr<Comm> make_mpi_comm(Backend& backend, double timeout_seconds);

}  // namespace llm
