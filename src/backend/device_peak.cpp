#include "backend/device_peak.h"

#include <string_view>

namespace llm {
namespace {

struct DevicePeak {
  std::string_view name;   // a part of the device's; the first that fits counts
  double f32, tf32, bf16;  // TFLOP/s, without sparsity
};

// NVIDIA's data sheets and architecture papers. GeForce cards add up in float32 at half the speed
// of their sums in float16, which are the ones that are advertised.
constexpr DevicePeak kPeaks[] = {
    {"H100 PCIe", 51, 378, 756},       {"H100 NVL", 60, 417.5, 835.5},
    {"H100", 67, 494.5, 989},          {"H200", 67, 494.5, 989},
    {"A100", 19.5, 156, 312},          {"A10", 31.2, 62.5, 125},
    {"L40S", 91.6, 183, 362},          {"L4", 30.3, 60, 121},
    {"RTX 3090", 35.6, 35.6, 71},      {"RTX 4090", 82.6, 82.6, 165.2},
    {"RTX 5090", 104.8, 104.8, 209.5},
};

}  // namespace

double peak_flops(const std::string& device, const std::string& dtype) {
  for (const DevicePeak& peak : kPeaks) {
    const size_t at = device.find(peak.name);
    if (at == std::string::npos) continue;
    // "L4" is no "L40", "RTX 4090" no "RTX 4090 Laptop".
    const std::string_view rest = std::string_view(device).substr(at + peak.name.size());
    if (!rest.empty() && rest.front() != ' ' && rest.front() != '-') continue;
    if (rest.find("Laptop") != std::string_view::npos) continue;
    return 1e12 * (dtype == "bf16" ? peak.bf16 : dtype == "tf32" ? peak.tf32 : peak.f32);
  }
  return 0;
}

}  // namespace llm
