// Low-rank adapters outside of training: what is trained of a model, and merging them into it.
#pragma once

#include "model/gpt.h"

namespace llm {

// The values of `adapted` with what its adapters add: weight + alpha / rank B A, for a model of the
// same config but without adapters. Sums in float64, each result rounded once.
void merge_adapters(const Gpt& adapted, Gpt& plain);

}  // namespace llm
