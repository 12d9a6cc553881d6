// What GPUs can multiply at most, for the model FLOP utilization (MFU) of training.
#pragma once

#include <string>

namespace llm {

// Dense peak of the device with this name (Backend::name()), in FLOP/s, for products of the type
// "f32", "tf32" or "bf16" that add up in float32, from its maker's data sheet. 0: not known, as of
// every CPU.
double peak_flops(const std::string& device, const std::string& dtype);

}  // namespace llm
