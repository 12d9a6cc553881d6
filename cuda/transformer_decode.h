// One token of up to 8 sequences through all blocks of a GPT-2-like transformer, in one kernel; see
// transformer_decode in backend.h.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

constexpr int kDecodeLayers = 64;      // at most
constexpr int kDecodeSequences = 8;    // at most
constexpr int kDecodeChannels = 2048;  // at most; 4 times as many in the MLP
constexpr int kDecodeHidden = 4 * kDecodeChannels;

struct DecodeLinear {
  const void* weight;  // (out, in)
  const void* bias;    // (out) or null
};

struct DecodeNorm {
  const void* weight;  // (C)
  const void* bias;    // (C) or null
};

struct DecodeBlock {
  DecodeNorm norms[2];      // before attention, before the MLP
  DecodeLinear linears[4];  // q, k and v; projection; up; down
  void* keys;               // (blocks, block size, H, D)
  void* values;
};

// All of one element type but for the logits. Lives in the kernel's parameters.
struct TransformerDecode {
  DecodeBlock blocks[kDecodeLayers];
  DecodeNorm norm;
  const void* head;            // (vocab, C)
  const void* token_table;     // (V, C)
  const void* position_table;  // (P, C)
  const int32_t* tokens;       // (S)
  const int32_t* positions;    // (S)
  const int32_t* lengths;      // (S), this token included
  const int32_t* block_table;  // (S, max_blocks)
  float* logits;               // (S, vocab)
  void* exchange;              // transformer_decode_exchange_bytes()
  int layers, S, C, H, D, hidden, vocab, max_blocks;
  int block_shift;  // the block size is a power of two
  float epsilon, scale;
  // The work before on the stream is sample_tokens(), which lets this begin early: it reads
  // weights, which were there before that, and waits for the tokens only then.
  bool after_sampling;
  // decode_batch only: sums are of an order that does not depend on S either.
  bool batch_invariant;
};

struct DecodeShape {
  int layers, C, H, D, hidden, vocab, block_size;
};

// The most sequences that one launch takes on the current device: 0, 1, 2, 4 or 8.
int transformer_decode_sequences(const DecodeShape& shape, Element element);
// Memory through which the multiprocessors tell each other their results. Zero before the first
// launch, and after that left to the launches. Launches must not overlap in time, neither on this
// memory nor on the device: the blocks of one wait for each other.
int64_t transformer_decode_exchange_bytes();
void transformer_decode(const TransformerDecode& decode, Element element, cudaStream_t stream);

}  // namespace llm::cuda
