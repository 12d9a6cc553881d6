#include "cpu_ref/openblas_core.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "cpu_ref/cpu_backend.h"

#ifdef LLM_HAVE_OPENBLAS
#include <cblas.h>
#endif

namespace llm::cpu_ref {
namespace {

// Those for processors without AVX.
constexpr const char* kOldCores[] = {
    "Katmai",     "Coppermine", "Northwood", "Prescott", "Banias",    "Atom",   "Core2", "Penryn",
    "Dunnington", "Nehalem",    "Athlon",    "Opteron",  "Barcelona", "Bobcat", "Nano",  "Unknown"};

}  // namespace

std::string better_openblas_core(const std::string& chosen) {
#if defined(__x86_64__)
  const bool old =
      std::find(std::begin(kOldCores), std::end(kOldCores), chosen) != std::end(kOldCores);
  if (!old || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return "";
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return wide ? "SkylakeX" : "Haswell";
#else
  return "";
#endif
}

}  // namespace llm::cpu_ref

namespace llm {

void restart_with_fitting_openblas([[maybe_unused]] char** arguments) {
#ifdef LLM_HAVE_OPENBLAS
  if (getenv("OPENBLAS_CORETYPE") != nullptr) return;
  const std::string better = cpu_ref::better_openblas_core(openblas_get_corename());
  if (better.empty() || setenv("OPENBLAS_CORETYPE", better.c_str(), 0) != 0) return;
  execv("/proc/self/exe", arguments);  // returns only where that failed: then slowly, as before
#endif
}

}  // namespace llm
