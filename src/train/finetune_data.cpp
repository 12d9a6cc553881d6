#include "train/finetune_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/hash.h"

namespace llm {
namespace {

constexpr const char* kFolder = "data";
constexpr std::array kNames = {"train", "validation", "test"};

FinetuneData named_parts() {
  FinetuneData data;
  for (size_t i = 0; i < kNames.size(); ++i) data.parts[i].name = kNames[i];
  return data;
}

std::vector<int64_t> all_indices(int64_t count) {
  std::vector<int64_t> indices(static_cast<size_t>(count));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

void count_bad(BadRows& into, const BadRows& from) {
  for (const std::string& row : from.first()) {
    const size_t colon = row.rfind(": ");
    into.add(row.substr(0, colon), row.substr(colon + 2));
  }
  for (int64_t i = std::ssize(from.first()); i < from.count(); ++i) into.add("", "");
}

void read_part(FinetuneData& data, ExamplePart& part, FinetuneTask task, const DataFiles& files,
               const std::string& path) {
  part.source = input_name(path);
  if (task == FinetuneTask::instruct) {
    Conversations read = read_conversations(path, files.skip_bad_rows);
    part.conversations = std::move(read.all);
    count_bad(data.bad, read.bad);
    return;
  }
  LabeledTextOptions columns = files.columns;
  columns.skip_bad_rows = files.skip_bad_rows;
  if (&part != &data.train()) columns.known = &data.labels;
  LabeledTexts read = read_labeled_texts(path, columns);
  part.texts = std::move(read.texts);
  count_bad(data.bad, read.bad);
  if (&part != &data.train()) return;
  data.labels = labels_of(part.texts, part.source);
  data.label_column = read.label_column;
  data.text_column = read.text_column;
}

void balance(ExamplePart& part, int64_t seed) {
  part.texts = select<LabeledText>(
      part.texts, balance_by_sampling_down(part.texts, static_cast<uint64_t>(seed)));
}

void split(FinetuneData& data, const DataFiles& files, FinetuneTask task) {
  const std::string text = files.split.empty() ? default_split(task) : files.split;
  ExamplePart whole = std::exchange(data.train(), {});
  const RowSplit rows =
      split_rows(whole.rows(), parse_split(text), files.order, static_cast<uint64_t>(files.seed));
  const std::array parts = {&rows.train, &rows.validation, &rows.test};
  for (size_t i = 0; i < parts.size(); ++i) {
    ExamplePart& part = data.parts[i];
    part.name = kNames[i];
    part.source = whole.source;
    if (task == FinetuneTask::classify) {
      part.texts = select<LabeledText>(whole.texts, *parts[i]);
    } else {
      part.conversations = select<Conversation>(whole.conversations, *parts[i]);
    }
  }
}

fs::path part_path(FinetuneTask task, const fs::path& run, const std::string& name) {
  return run / kFolder / (name + (task == FinetuneTask::classify ? ".csv" : ".jsonl"));
}

}  // namespace

std::string default_split(FinetuneTask task) {
  return task == FinetuneTask::classify ? "0.7,0.1,0.2" : "0.85,0.05,0.1";
}

FinetuneData read_finetune_data(FinetuneTask task, const DataFiles& files) {
  FinetuneData data = named_parts();
  data.bad = BadRows(files.skip_bad_rows);
  const bool others = !files.validation.empty() || !files.test.empty();
  if (others && !files.split.empty()) {
    fail_usage("--split", "there are files for validation or test",
               "leave out --split, or --val and --test");
  }
  if (!others) parse_split(files.split.empty() ? default_split(task) : files.split);  // at once
  read_part(data, data.train(), task, files, files.train);
  if (files.balance) balance(data.train(), files.seed);
  if (!others) {
    split(data, files, task);
    return data;
  }
  if (!files.validation.empty()) {
    read_part(data, data.validation(), task, files, files.validation);
  }
  if (!files.test.empty()) read_part(data, data.test(), task, files, files.test);
  return data;
}

FinetuneData reread_finetune_data(FinetuneTask task, const fs::path& run,
                                  const std::vector<std::string>& labels) {
  FinetuneData data = named_parts();
  data.bad = BadRows(/*skip=*/true);  // counted when they were read first
  if (task == FinetuneTask::classify) data.labels = LabelSet(labels, run.string());
  for (ExamplePart& part : data.parts) {
    const fs::path path = part_path(task, run, part.name);
    part.source = path.string();
    if (!fs::exists(path)) continue;
    if (task == FinetuneTask::classify) {
      LabeledTextOptions columns;
      columns.header = Header::yes;
      part.texts = read_labeled_texts(path, columns).texts;
    } else {
      part.conversations = read_conversations(path).all;
    }
  }
  return data;
}

void write_finetune_data(FinetuneTask task, const fs::path& run, const FinetuneData& data) {
  make_directories(run / kFolder);
  for (const ExamplePart& part : data.parts) {
    if (part.empty()) continue;
    const fs::path path = part_path(task, run, part.name);
    if (task == FinetuneTask::classify) {
      write_labeled_texts(path, part.texts, all_indices(std::ssize(part.texts)));
      continue;
    }
    std::string lines;
    for (const Conversation& conversation : part.conversations) {
      lines += to_line(conversation_json(conversation)) + "\n";
    }
    write_file_atomically(path, lines);
  }
}

std::string hash_of(const ExamplePart& part) {
  Sha256 hash;
  for (const LabeledText& text : part.texts) {
    hash.update(
        fmt::format("{} {} {}{}", text.label.size(), text.text.size(), text.label, text.text));
  }
  for (const Conversation& conversation : part.conversations) {
    hash.update(to_line(conversation_json(conversation)) + "\n");
  }
  return hash.hex_digest();
}

namespace {

void tokenize_part(ExamplePart& part, FinetuneData& data, const FinetuneOptions& options,
                   int64_t context, const Tokenizer& tokenizer) {
  if (part.empty()) return;
  const int64_t most = options.max_length > 0 ? options.max_length : context;
  const TooLong too_long = options.max_length > 0 ? TooLong::truncate : TooLong::refuse;
  if (options.task == FinetuneTask::classify) {
    part.tokenized =
        tokenize_texts(tokenizer, part.texts, data.labels, most, too_long, part.source, data.bad);
  } else {
    part.tokenized = tokenize_conversations(tokenizer, part.conversations,
                                            {options.format, options.mask_prompt, most, too_long},
                                            part.source, data.bad);
  }
}

}  // namespace

void tokenize(FinetuneData& data, FinetuneOptions& options, ModelConfig& config,
              const Tokenizer& tokenizer) {
  tokenize_part(data.train(), data, options, config.context, tokenizer);
  if (config.is_classifier() && config.pooling == Pooling::last) {
    // All rows are as long as the longest one of training, in use as well.
    if (options.max_length == 0) options.max_length = data.train().tokenized.figures.longest;
    config.pad_length = options.max_length;
  }
  tokenize_part(data.validation(), data, options, config.context, tokenizer);
  tokenize_part(data.test(), data, options, config.context, tokenizer);
}

}  // namespace llm
