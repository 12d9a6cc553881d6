// How long ops take on a device, and how far that is from what its memory and its matrix products
// allow (Williams et al., "Roofline", 2009).
#pragma once

#include "cli/op_cases.h"

namespace llm {

// What the device reaches at best, measured: a copy of a large tensor, and a large matrix product
// in each type.
struct Ceilings {
  double bytes_per_second = 0;
  double f32_flops = 0, bf16_flops = 0;  // per second
  double flops(DType dtype) const { return dtype == DType::bf16 ? bf16_flops : f32_flops; }
};
Ceilings measure_ceilings(Backend& backend);

struct OpTiming {
  double seconds = 0;  // the median
  double bytes = 0;    // that have to move
  double flops = 0;
  double bytes_per_second() const { return bytes / seconds; }
  double flops_per_second() const { return flops / seconds; }
};
// Every call works on other memory, several times what caches hold. budget: about how many seconds
// to spend.
OpTiming time_op(const OpCase& each, Backend& backend, double budget = 0.1);

// The time that the ceilings allow as a share of the time that was taken.
double roofline_share(const OpTiming& timing, const Ceilings& ceilings, DType dtype);

// "12.3 us", "4.56 ms"
std::string time_text(double seconds);

}  // namespace llm
