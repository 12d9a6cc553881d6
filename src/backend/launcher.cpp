#include "backend/launcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace llm {
namespace {

constexpr int kLargestPort = 65535;
// Ports for Slurm's jobs, above those of well-known services.
constexpr int64_t kFirstPort = 20000, kPorts = 12000;

const char* variable(const char* name) {
  const char* text = std::getenv(name);
  return text && *text ? text : nullptr;
}

// The number in an environment variable, -1 if it is not set.
int64_t number(const char* name, int64_t largest) {
  const char* text = variable(name);
  if (!text) return -1;
  char* end = nullptr;
  const long long value = std::strtoll(text, &end, 10);
  if (*end != '\0' || value < 0 || value > largest) {
    fail_usage(name, fmt::format("\"{}\" is no number from 0 to {}", text, largest));
  }
  return value;
}

int process_number(const char* name) { return static_cast<int>(number(name, 1 << 20)); }

// FNV-1a.
uint64_t mix(uint64_t hash, std::string_view text) {
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

// What distinguishes this run from others that may meet at the same place.
uint64_t run_key(int ranks) {
  uint64_t key = mix(0xcbf29ce484222325u, fmt::format("{}", ranks));
  for (const char* name : {"TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "SLURM_STEP_ID"}) {
    if (const char* text = variable(name)) key = mix(mix(key, name), text);
  }
  return key;
}

Launcher checked(Launcher launcher, const char* rank_name) {
  if (launcher.rank < 0 || launcher.rank >= launcher.ranks) {
    fail_usage(rank_name, fmt::format("{} of {} processes", launcher.rank, launcher.ranks));
  }
  if (launcher.local_rank < 0) launcher.local_rank = launcher.rank;
  launcher.key = run_key(launcher.ranks);
  return launcher;
}

// The port behind MASTER_PORT; 0 if it is not set.
int port_of_environment() {
  const auto port = static_cast<int>(number("MASTER_PORT", kLargestPort - 1));
  return port < 0 ? 0 : port + 1;
}

Launcher torch_launcher(int ranks) {
  Launcher launcher{Launcher::Meeting::sockets, process_number("RANK"), ranks,
                    process_number("LOCAL_RANK")};
  const char* address = variable("MASTER_ADDR");
  launcher.port = port_of_environment();
  if (!address || launcher.port == 0) {
    fail_usage("RANK and WORLD_SIZE", "set without MASTER_ADDR and MASTER_PORT",
               "torchrun sets all four; or unset RANK and WORLD_SIZE to run one process");
  }
  launcher.address = address;
  return checked(launcher, "RANK");
}

Launcher slurm_launcher(int ranks) {
  Launcher launcher{Launcher::Meeting::sockets, process_number("SLURM_PROCID"), ranks,
                    process_number("SLURM_LOCALID")};
  launcher.port = port_of_environment();
  if (launcher.port == 0) {
    const int64_t job = std::max<int64_t>(number("SLURM_JOB_ID", INT64_MAX), 0);
    const int64_t step = std::max<int64_t>(number("SLURM_STEP_ID", INT64_MAX), 0);
    launcher.port = static_cast<int>(kFirstPort + (job % kPorts * 7 + step % kPorts) % kPorts);
  }
  if (const char* address = variable("MASTER_ADDR")) {
    launcher.address = address;
  } else if (process_number("SLURM_STEP_NUM_NODES") == 1) {
    launcher.address = "127.0.0.1";
  } else if (const char* nodes = variable("SLURM_STEP_NODELIST")) {
    launcher.address = first_node(nodes);
  } else {
    fail_usage("srun", "SLURM_STEP_NODELIST is not set",
               "set MASTER_ADDR to the name of the first node");
  }
  return checked(launcher, "SLURM_PROCID");
}

}  // namespace

Launcher find_launcher() {
  if (const int ranks = process_number("OMPI_COMM_WORLD_SIZE"); ranks > 1) {
    return checked({Launcher::Meeting::mpi, process_number("OMPI_COMM_WORLD_RANK"), ranks,
                    process_number("OMPI_COMM_WORLD_LOCAL_RANK")},
                   "OMPI_COMM_WORLD_RANK");
  }
  if (const int ranks = process_number("WORLD_SIZE"); ranks > 1 && variable("RANK")) {
    return torch_launcher(ranks);
  }
  if (const int ranks = process_number("SLURM_STEP_NUM_TASKS"); ranks > 1) {
    return slurm_launcher(ranks);
  }
  if (const int ranks = process_number("PMI_SIZE"); ranks > 1) {
    return checked({Launcher::Meeting::mpi, process_number("PMI_RANK"), ranks,
                    process_number("MPI_LOCALRANKID")},
                   "PMI_RANK");
  }
  return {};
}

int gpu_of_process(const Launcher& launcher, int gpus) {
  if (launcher.local_rank < gpus) return launcher.local_rank;
  if (gpus == 1) return 0;
  fail_usage(fmt::format("rank {} of {}", launcher.rank, launcher.ranks),
             fmt::format("process {} of its machine, which has {} GPUs", launcher.local_rank, gpus),
             "start one process per GPU");
}

std::string first_node(const std::string& list) {
  const size_t end = list.find_first_of("[,");
  if (end == std::string::npos || list[end] == ',') return list.substr(0, end);
  const size_t stop = list.find_first_of("-,]", end), close = list.find(']', end);
  if (close == std::string::npos) return list.substr(0, end);
  return first_node(list.substr(0, end) + list.substr(end + 1, stop - end - 1) +
                    list.substr(close + 1));
}

}  // namespace llm
