#include "cli/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "backend/launcher.h"
#include "base/error.h"
#include "base/log.h"
#include "cpu_ref/cpu_backend.h"
#ifdef LLM_HAVE_CUDA
#include "cuda/cuda_backend.h"
#endif
#include "train/options.h"

namespace llm {
namespace {

// "cuda" or "cuda:" and a number.
bool names_cuda(const std::string& device) {
  if (device == "cuda") return true;
  if (!device.starts_with("cuda:") || device.size() == 5 || device.size() > 8) return false;
  return std::all_of(device.begin() + 5, device.end(), [](char c) { return c >= '0' && c <= '9'; });
}

constexpr const char* kDeviceVariable = "LLM_DEVICE";

// What auto stands for where the user's environment says so.
std::string chosen_device(const std::string& device) {
  const char* wanted = std::getenv(kDeviceVariable);
  return device == "auto" && wanted != nullptr && *wanted != '\0' ? wanted : device;
}

// Where the name of the device was said.
const char* place_of_choice(const std::string& given) {
  return chosen_device(given) == given ? "--device" : kDeviceVariable;
}

}  // namespace

void add_device_option(CLI::App& command, std::string& device) {
  command
      .add_option("--device", device,
                  "where to compute: auto (LLM_DEVICE of the environment, else a GPU if there is "
                  "one), cpu, cuda or cuda:N")
      ->type_name("DEVICE")
      ->default_str("auto");
  device = "auto";
}

#ifdef LLM_HAVE_CUDA
namespace {

std::unique_ptr<Backend> make_gpu_backend(int number, const DeviceOptions& options) {
  CudaOptions cuda;
  cuda.device = number;
  cuda.tf32 = options.tf32;
  cuda.attention = options.attention;
  cuda.memory_limit = options.memory_limit;
  cuda.retune = options.retune;
  if (const char* folder = std::getenv("LLM_PLAN_FOLDER")) {
    cuda.plan_folder = folder;
  } else if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache) {
    cuda.plan_folder = fmt::format("{}/llm.cpp", cache);
  } else if (const char* home = std::getenv("HOME"); home && *home) {
    cuda.plan_folder = fmt::format("{}/.cache/llm.cpp", home);
  }
  return make_cuda_backend(cuda);
}

}  // namespace

std::unique_ptr<Backend> make_backend(const std::string& given, const DeviceOptions& options) {
  require_attention_name(options.attention);
  const std::string device = chosen_device(given);
  const char* where = place_of_choice(given);
  if (device == "cpu") return make_cpu_backend();
  std::string reason;
  if (device == "auto") {
    const int count = cuda_device_count(reason);
    if (count == 0) return make_cpu_backend();
    return make_gpu_backend(gpu_of_process(find_launcher(), count), options);
  }
  if (!names_cuda(device)) {
    fail_usage(where, fmt::format("\"{}\" is none of auto, cpu, cuda, cuda:N", device));
  }
  const int count = cuda_device_count(reason);
  if (count == 0) {
    throw Error(ErrorKind::device, where, fmt::format("{}: {}", device, reason),
                "use --device cpu");
  }
  const int number =
      device == "cuda" ? gpu_of_process(find_launcher(), count) : std::stoi(device.substr(5));
  if (number >= count) {
    throw Error(ErrorKind::device, where,
                fmt::format("{}: this machine has {} GPU{}", device, count, count == 1 ? "" : "s"),
                "they are numbered from 0");
  }
  return make_gpu_backend(number, options);
}
#else
std::unique_ptr<Backend> make_backend(const std::string& given, const DeviceOptions& options) {
  require_attention_name(options.attention);
  const std::string device = chosen_device(given);
  const char* where = place_of_choice(given);
  if (device == "auto" || device == "cpu") return make_cpu_backend();
  if (names_cuda(device)) {
    throw Error(ErrorKind::device, where, fmt::format("{}: this build has no CUDA", device),
                "use --device cpu");
  }
  fail_usage(where, fmt::format("\"{}\" is none of auto, cpu, cuda, cuda:N", device));
}
#endif

std::unique_ptr<Comm> make_comm(Backend& backend, [[maybe_unused]] const std::string& device,
                                double timeout_seconds) {
  if (find_launcher().ranks == 1) return make_single_comm();
#ifdef LLM_HAVE_CUDA
  if (!backend.is_host() && chosen_device(device).find(':') == std::string::npos) {
    std::string reason;
    if (nccl_available(reason)) return make_nccl_comm(backend, timeout_seconds);
    log_warning(fmt::format("{}; the GPUs exchange gradients through the host", reason));
  }
#endif
  return make_mpi_comm(backend, timeout_seconds);
}

void restart_with_fitting_libraries(char** arguments) { restart_with_fitting_openblas(arguments); }

}  // namespace llm
