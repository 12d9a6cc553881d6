// What devices can multiply at most, by name.
#include <gtest/gtest.h>

#include "backend/device_peak.h"

namespace llm {
namespace {

TEST(DevicePeak, IsThatOfTheDataSheet) {
  EXPECT_EQ(peak_flops("cuda:0 NVIDIA H200", "bf16"), 989e12);
  EXPECT_EQ(peak_flops("cuda:3 NVIDIA H100 80GB HBM3", "tf32"), 494.5e12);
  EXPECT_EQ(peak_flops("cuda:0 NVIDIA H100 PCIe", "bf16"), 756e12);
  EXPECT_EQ(peak_flops("cuda:0 NVIDIA A100-SXM4-80GB", "bf16"), 312e12);
  EXPECT_EQ(peak_flops("cuda:0 NVIDIA A100-SXM4-80GB", "f32"), 19.5e12);
  EXPECT_EQ(peak_flops("cuda:0 NVIDIA L40S", "bf16"), 362e12);
}

TEST(DevicePeak, IsNotGuessed) {
  for (const char* name :
       {"cpu (2 threads)", "cuda:0 NVIDIA A1000", "cuda:0 NVIDIA L40",
        "cuda:0 NVIDIA GeForce RTX 4090 Laptop GPU", "cuda:0 NVIDIA A100X", ""}) {
    EXPECT_EQ(peak_flops(name, "bf16"), 0) << name;
  }
}

}  // namespace
}  // namespace llm
