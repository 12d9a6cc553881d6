// Exchanges small values between the processes of a run, from host to host: what is needed before
// and beside the collectives of the GPUs. All members are called by every process in the same
// order. What does not arrive in time throws Error{device} or ends the process with that exit code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "backend/comm.h"

namespace llm {

class HostGroup {
 public:
  virtual ~HostGroup() = default;
  virtual int rank() const = 0;
  virtual int ranks() const = 0;
  // The values are combined in the order of the ranks; a NaN anywhere is a NaN everywhere.
  virtual int64_t all_reduce(int64_t value, Reduce reduce) = 0;
  virtual double all_reduce(double value, Reduce reduce) = 0;
  virtual void share(std::span<std::byte> bytes) = 0;  // all get those of rank 0
  virtual void barrier() = 0;
  virtual void set_step(int64_t step) = 0;  // named in messages
};

// Through what find_launcher() says: MPI, sockets, or alone. `backend` as in make_mpi_comm.
std::unique_ptr<HostGroup> make_host_group(Backend& backend, double timeout_seconds);

}  // namespace llm
