// A number that two tensors share only if they have the same bits, to see whether an algorithm is
// repeatable.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// checksum += a mix of every 4 bytes and their place, in integers: the same sum in any order.
//   checksum: (1), device memory   data: of any alignment
void add_checksum(uint64_t* checksum, const void* data, int64_t bytes, cudaStream_t stream);

}  // namespace llm::cuda
