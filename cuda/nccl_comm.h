// Collectives between GPUs by NCCL, NVIDIA's library, which is loaded when the program runs.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "backend/comm.h"

namespace llm::cuda {

// The queues of a backend.
struct CudaStreams {
  cudaStream_t compute = nullptr, communication = nullptr;
};

// Whether NCCL was built in and its library is here; why not, if not.
bool nccl_available(std::string& reason);

// Of the processes that mpirun, srun or torchrun started (see backend/launcher.h); of one process
// if there is no such. Call it with the GPU of this process current. `backend` is the one on that
// GPU, whose streams these are. A collective that takes longer than timeout_seconds, or fails, ends
// the process with exit code 6. Throws Error{device} where NCCL is not available or the processes
// do not find each other.
//
// Collectives of tensors run on the communication stream, behind what is queued on the compute
// stream, and the compute stream waits for them; the host does not. start_all_reduce() leaves out
// that wait: what is queued for computing meanwhile runs beside it. Sums are f32, added up in an
// order that is the same on every rank and, with the same GPUs, links and NCCL, each time. Values
// of the host do not pass through the GPU, so they do not wait for what it does.
std::unique_ptr<Comm> make_nccl_comm(Backend& backend, const CudaStreams& streams,
                                     double timeout_seconds);

}  // namespace llm::cuda
