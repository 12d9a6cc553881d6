// From text to a dataset folder: read, clean, filter, encode, write. Two passes over the input, in
// memory that does not grow with it (but for a bit per document, and more with --dedup).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/corpus_reader.h"
#include "data/dataset_writer.h"
#include "data/filters.h"

namespace llm {

// How the last part of the text is set apart for validation.
enum class SplitUnit {
  automatic,  // documents where at least 10 of them would go to validation, otherwise characters
  characters,
  documents,
};

struct PrepareOptions {
  std::vector<std::string> inputs;  // files and folders; "-" is standard input
  CorpusFormat format = CorpusFormat::by_name;
  std::string text_key = "text";
  std::string tokenizer;  // a folder, gpt2, bytes or chars
  fs::path tokenizer_dir;
  fs::path output;
  double val_fraction = 0.1;
  std::vector<std::string> val_inputs;  // if not empty: all of these, and val_fraction is unused
  SplitUnit split = SplitUnit::automatic;
  int64_t shard_tokens = 100'000'000;
  FilterOptions filters;
  bool allow_special = false;  // "<|endoftext|>" in the text is the token of that name
  bool force = false;          // replaces a dataset that is there
  int threads = 1;
  bool show_progress = true;
};

struct PrepareSummary {
  SplitRecord train, val;
  FilterReport filters;
  std::string split_unit;  // "chars", "documents", "files" or "none"
  std::string tokenizer_kind, tokenizer_hash;
  int64_t vocab_size = 0;
  int64_t files = 0, skipped_files = 0, input_bytes = 0;
  double seconds = 0;
};

// Writes options.output: shards, the tokenizer's files and, last, dataset.json. What is wrong with
// the input is found before anything of an earlier dataset is touched. Throws Error{usage} for a
// folder that is not empty (without force), Error{input} and Error{disk}.
PrepareSummary prepare_dataset(const PrepareOptions& options);

}  // namespace llm
