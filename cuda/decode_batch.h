// One token of up to 64 sequences through all blocks of a GPT-2-like transformer, a kernel for each
// operation; see transformer_decode in backend.h. bf16, compute capability 9.0.
#pragma once

#include "cuda/transformer_decode.h"

namespace llm::cuda {

constexpr int kDecodeBatch = 64;  // sequences, at most

// Memory for what the kernels tell each other. Rows of sequences that there are not are multiplied
// and forgotten: zero before the first call, so that nothing is read that nobody wrote.
int64_t decode_batch_bytes();
// decode: its `exchange` is not used; a shape that transformer_decode_sequences() takes, with a
// vocabulary of a multiple of 4; bf16.   memory: of decode_batch_bytes()
void decode_batch(const TransformerDecode& decode, void* memory, cudaStream_t stream);

}  // namespace llm::cuda
