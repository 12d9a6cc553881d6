// What is in a dataset, for people: counts, checks, decoded samples.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/shard.h"

namespace llm {

struct InspectOptions {
  fs::path path;               // a dataset folder or a shard
  bool verify = true;          // checksums and ids
  int64_t samples = 3;         // decoded passages
  int64_t sample_tokens = 50;  // length of each
  uint64_t seed = 42;          // which passages
  // For decoding; empty: the tokenizer in the folder of the data, if there is one.
  std::string tokenizer;
  fs::path tokenizer_dir;
};

struct TokenSample {
  std::string split;
  int64_t position = 0;
  std::vector<TokenId> ids;
  std::string text;  // printable: control characters and invalid bytes are escaped
};

struct Inspection {
  Dataset dataset;
  int64_t mebibytes = 0;        // of all shards
  int64_t distinct_tokens = 0;  // ids that occur in any split
  TokenId largest_token = -1;
  std::string tokenizer_kind;  // empty where unknown
  std::vector<TokenSample> samples;
};

// Throws Error{input} for what is wrong with the data.
Inspection inspect_dataset(const InspectOptions& options);

// Text for one line of a terminal: \n, \t, \\ and \xNN for what cannot be printed.
std::string printable_text(std::string_view text);

}  // namespace llm
