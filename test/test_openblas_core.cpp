// Which of OpenBLAS's products fit the processor.
#include <gtest/gtest.h>

#include "cpu_ref/openblas_core.h"

namespace llm::cpu_ref {
namespace {

TEST(OpenBlasCore, WhatIsOlderThanTheProcessorIsReplaced) {
  for (const char* modern : {"Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids"}) {
    EXPECT_EQ(better_openblas_core(modern), "") << modern;
  }
#if defined(__x86_64__)
  const std::string better = better_openblas_core("Prescott");
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    EXPECT_EQ(better, "");
  } else if (__builtin_cpu_supports("avx512f")) {
    EXPECT_TRUE(better == "SkylakeX" || better == "Haswell") << better;
  } else {
    EXPECT_EQ(better, "Haswell");
  }
#endif
}

}  // namespace
}  // namespace llm::cpu_ref
