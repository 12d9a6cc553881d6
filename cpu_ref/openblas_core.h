// OpenBLAS has products for each generation of processors and picks by the model's number. One that
// is younger than the library gets those of the year 2004, a fourth as fast. The variable
// OPENBLAS_CORETYPE overrules that; it is read when the library is loaded, before main.
#pragma once

#include <string>

namespace llm::cpu_ref {

// The generation of OpenBLAS's products that fits this processor where `chosen`, what the library
// took, has no AVX2 although the processor does: "SkylakeX" or "Haswell"; empty where all is well.
std::string better_openblas_core(const std::string& chosen);

}  // namespace llm::cpu_ref
