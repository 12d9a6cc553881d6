// The bodies of few_rows.h for processors with AVX2 or AVX-512. Only in builds for x86-64.
#pragma once

#include "cpu_ref/few_rows.h"

namespace llm::cpu_ref {

bool have_avx2();  // and fused multiply-adds
bool have_avx512();
// The processor must have what they are named after.
void few_rows_avx2(const FewRows& product);
void few_rows_avx512(const FewRows& product);

}  // namespace llm::cpu_ref
