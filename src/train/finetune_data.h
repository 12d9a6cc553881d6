// The data of a run of fine-tuning: read, balanced, split and tokenized; and kept beside the run,
// so that it is resumed with the very same examples whatever becomes of the files it began with.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "data/examples.h"
#include "data/instructions.h"
#include "data/labeled_texts.h"
#include "data/split.h"
#include "model/config.h"
#include "text/tokenizer.h"
#include "train/finetune_options.h"

namespace llm {

struct DataFiles {
  std::string train, validation, test;  // paths; the last two may be empty
  std::string split;  // see parse_split(); empty: none where there are other files, else a default
  SplitOrder order = SplitOrder::shuffled;
  bool balance = false;
  LabeledTextOptions columns;  // of texts with labels
  bool skip_bad_rows = false;
  int64_t seed = 42;
};

// The split where none is asked for.
std::string default_split(FinetuneTask task);

// One of the three parts. Of texts and conversations, one is used.
struct ExamplePart {
  std::string name;    // "train", "validation", "test"
  std::string source;  // what its file is called
  std::vector<LabeledText> texts;
  std::vector<Conversation> conversations;
  TokenizedExamples tokenized;

  bool empty() const { return texts.empty() && conversations.empty(); }
  int64_t rows() const { return std::ssize(texts) + std::ssize(conversations); }
};

struct FinetuneData {
  std::array<ExamplePart, 3> parts;  // train, validation, test; only the first one must have rows
  LabelSet labels;                   // of a classifier
  BadRows bad;
  std::string label_column, text_column;

  ExamplePart& train() { return parts[0]; }
  ExamplePart& validation() { return parts[1]; }
  ExamplePart& test() { return parts[2]; }
  const ExamplePart& train() const { return parts[0]; }
  const ExamplePart& validation() const { return parts[1]; }
  const ExamplePart& test() const { return parts[2]; }
};

// Throws Error{input} for bad rows, with file and line, and for files that have none; Error{usage}
// for a split that is none.
FinetuneData read_finetune_data(FinetuneTask task, const DataFiles& files);
// What write_finetune_data() wrote into the folder of a run.
FinetuneData reread_finetune_data(FinetuneTask task, const fs::path& run,
                                  const std::vector<std::string>& labels);
// RUN/data/train.csv, validation.csv, test.csv, or .jsonl of conversations.
void write_finetune_data(FinetuneTask task, const fs::path& run, const FinetuneData& data);
// Of what the examples of a part are made of.
std::string hash_of(const ExamplePart& part);

// Makes the examples of all parts. options.max_length and, where a model looks at the last
// position, config.pad_length are set where they follow from the data. Bad rows are those that the
// tokenizer refuses and, without --max-length, those that are longer than the context.
void tokenize(FinetuneData& data, FinetuneOptions& options, ModelConfig& config,
              const Tokenizer& tokenizer);

}  // namespace llm
