#include "cli/device.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "cpu_ref/cpu_backend.h"

namespace llm {
namespace {

// "cuda" or "cuda:" and a number.
bool names_cuda(const std::string& device) {
  if (device == "cuda") return true;
  if (!device.starts_with("cuda:") || device.size() == 5 || device.size() > 8) return false;
  return std::all_of(device.begin() + 5, device.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

void add_device_option(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "where to compute: auto, cpu, cuda or cuda:N")
      ->type_name("DEVICE")
      ->default_str("auto");
  device = "auto";
}

std::unique_ptr<Backend> make_backend(const std::string& device) {
  if (device == "auto" || device == "cpu") return make_cpu_backend();
  if (names_cuda(device)) {
    throw Error(ErrorKind::device, "--device", fmt::format("{}: this build has no CUDA", device),
                "use --device cpu");
  }
  fail_usage("--device", fmt::format("\"{}\" is none of auto, cpu, cuda, cuda:N", device));
}

}  // namespace llm
