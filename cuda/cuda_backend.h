// The backend on an NVIDIA GPU of compute capability 8.0 or later.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/comm.h"

namespace llm {

struct CudaOptions {
  int device = 0;
  bool tf32 = false;               // products of f32 tensors in TF32
  std::string attention = "auto";  // own, cudnn, auto: the faster one
  int64_t memory_limit = 0;        // bytes that may be taken; 0: what is free
  // Choices of algorithms are read from and written to files in this folder; empty: not kept.
  std::string plan_folder;
  bool retune = false;  // begin without the saved choices
};

// GPUs that this process can use; 0 and the reason where there is none.
int cuda_device_count(std::string& reason);

// Throws Error{device} where there is no such GPU or it is too old.
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options);

// Whether NCCL was built in and its library is here; why not, if not.
bool nccl_available(std::string& reason);
// Collectives between the GPUs of the processes that a launcher started, by NCCL; see
// cuda/nccl_comm.h. `backend` is of make_cuda_backend, and no other process uses its GPU.
std::unique_ptr<Comm> make_nccl_comm(Backend& backend, double timeout_seconds);

}  // namespace llm
