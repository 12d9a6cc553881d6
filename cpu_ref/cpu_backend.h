// The CPU backend: the reference for every kernel, and fast enough to train small models on.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace llm {

struct CpuOptions {
  int threads = 0;     // 0: all that the process may use
  bool plain = false;  // only the plain loops: no OpenBLAS, no faster second bodies
};

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options = {});

// Starts this program anew with OPENBLAS_CORETYPE where OpenBLAS was loaded, does not know this
// processor and the user has not chosen; see openblas_core.h. Call it first in main.
void restart_with_fitting_openblas(char** arguments);

}  // namespace llm
