// What decides a run of fine-tuning besides the numbers that it shares with pretraining.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/config.h"
#include "model/parameter_store.h"
#include "text/chat_template.h"

namespace llm {

enum class FinetuneTask {
  classify,  // a label for each text
  instruct,  // answers to instructions
};
// Throw Error{usage} at `where`, with the names there are.
std::string finetune_task_name(FinetuneTask task);
FinetuneTask finetune_task_named(const std::string& name, const std::string& where);

enum class TrainedPart {
  head,        // the output layer
  last_block,  // the last block, the final norm and the output layer
  all,
  lora,  // adapters beside frozen weights, and the whole output layer of a classifier unless that
         // has an adapter
};
std::string trained_part_name(TrainedPart part);  // "head", "last-block", "all", "lora"
TrainedPart trained_part_named(const std::string& name, const std::string& where);

struct FinetuneOptions {
  FinetuneTask task = FinetuneTask::classify;
  std::string base;  // the model to start from: an absolute path, or the name of a downloaded one
  std::string base_hash;  // hash_of_weights(); for adapters, which are worth nothing without it
  TrainedPart trained = TrainedPart::all;
  LoraConfig lora;         // rank 0 unless `trained` is lora
  int64_t max_length = 0;  // tokens of an example, the rest is cut off; 0: longer ones are refused
  bool skip_bad_rows = false;
  // Classification: per label; empty: all 1.
  std::vector<float> class_weights;
  // Instructions.
  ChatTemplate format = ChatTemplate::alpaca;
  bool mask_prompt = false, pack = false;
  int64_t answers = 2, answer_tokens = 128;  // to held-out instructions, and tokens of an answer
};

Json to_json(const FinetuneOptions& options);
// Throws Error{input} with `where`.
FinetuneOptions finetune_options_from_json(const Json& json, const std::string& where);

// What --lora-targets may be: some of qkv (or q, k, v), projection, up, down, score, or all, which
// is q, k, v, projection, up, down and, of a classifier, score. Throws Error{usage}.
void set_lora_targets(LoraConfig& lora, const std::string& text, bool classifier);
std::string lora_targets_text(const LoraConfig& lora);

// Which parameters of a model with this config are trained.
bool is_trained(const Parameter& parameter, TrainedPart part, const ModelConfig& config);

// "ham=1,spam=4" or numbers in the order of the labels. Throws Error{usage} at --class-weights.
std::vector<float> parse_class_weights(const std::string& text,
                                       const std::vector<std::string>& labels);

// Throws Error{usage} naming the option for what makes no sense.
void validate(const FinetuneOptions& options, const ModelConfig& config);
// Throws Error{usage} naming the first option, other than those that may change, that differs.
void require_resumable(const FinetuneOptions& before, const FinetuneOptions& now,
                       const std::string& where);

}  // namespace llm
