// Low-rank adapters outside of training: what is trained of a model, and merging them into it.
#pragma once

#include <vector>

#include "model/gpt.h"

namespace llm {

// The values of parameter `index` with what its adapter adds, if it has one: weight + alpha / rank
// B A, summed in float64, each result rounded once.
std::vector<float> merged_values(const Gpt& adapted, int index);

// The values of `adapted` with what its adapters add, for a model of the same config but without.
void merge_adapters(const Gpt& adapted, Gpt& plain);

}  // namespace llm
