// The option --device, for all commands that compute.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/comm.h"

namespace llm {

// Adds --device, "auto" unless given.
void add_device_option(CLI::App& command, std::string& device);

// What a GPU is used with; the CPU has no such choices.
struct DeviceOptions {
  bool tf32 = false;               // products of f32 tensors in TF32
  std::string attention = "auto";  // own, cudnn, auto
  int64_t memory_limit = 0;        // bytes; 0: what is free
  bool retune = false;             // forget the choices that earlier runs saved
};

// auto (LLM_DEVICE of the environment, else a GPU if there is one, else the CPU), cpu, cuda or
// cuda:N. Throws Error{usage} for anything else, Error{device} for a device that is not there or
// that this build cannot use. Of several processes on one machine each takes the GPU of its place
// among them.
std::unique_ptr<Backend> make_backend(const std::string& device, const DeviceOptions& options = {});

// Collectives between the processes that a launcher started, or of a single one. GPUs talk through
// NCCL where it is there, and through MPI and the host where it is not or where a GPU was named
// with cuda:N, so that processes may share it.
std::unique_ptr<Comm> make_comm(Backend& backend, const std::string& device,
                                double timeout_seconds);

// For main, before anything else: starts the program anew where a library was loaded that does not
// know this processor; see cpu_ref/cpu_backend.h.
void restart_with_fitting_libraries(char** arguments);

}  // namespace llm
