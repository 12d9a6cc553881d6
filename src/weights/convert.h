// Writes a model in the forms that others read.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "model/gpt.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/tokenizer_facts.h"
#include "weights/adapter_folder.h"
#include "weights/model_source.h"

namespace llm {

enum class ModelFormat {
  hugging_face,  // a model folder
  book,          // model.pth, a state dict of the book's GPTModel
  llm_c,         // model.bin
};

// "hugging-face", "book", "llm.c". Throws Error{usage} for another name.
ModelFormat parse_model_format(const std::string& name);
// "f32", "bf16", "f16". Throws Error{usage} for another name.
DType parse_file_dtype(const std::string& name);

struct ConversionTarget {
  ModelFormat format = ModelFormat::hugging_face;
  fs::path directory;
  std::optional<DType> dtype;            // nothing: that of the source (f32 if it has several)
  const Tokenizer* tokenizer = nullptr;  // its files come into the folder too
  TokenizerFacts facts = {};             // of where the tokenizer comes from
  std::optional<ChatTemplate> taught;    // the template that the model was taught in
  std::function<void(int64_t done, int64_t all)> progress = [](int64_t, int64_t) {};  // parameters
};

struct ConversionResult {
  fs::path weights;  // the file
  DType dtype;
  ModelConfig config;
  int64_t parameters = 0;          // padding not counted
  int64_t not_finite = 0;          // values that are NaN or infinite
  std::string not_finite_in = {};  // the first parameter with one
};

// Compares the tensors of `source` with `config`, then writes. A tensor is in memory a piece at a
// time. `backend` is asked for properties only. Throws Error{input} for tensors that do not fit
// (all are named), for a tokenizer with more tokens than the model and for values beyond the type,
// Error{usage} for what the format cannot hold; nothing has been written then, but in the case of
// such a value. An existing file is replaced whole, and files of another tokenizer are removed.
ConversionResult convert_model(Backend& backend, const ModelSource& source,
                               const ModelConfig& config, const ConversionTarget& target);

// The same of a model in memory; its adapters are left out.
ConversionResult convert_model(const Gpt& model, const ConversionTarget& target);

// The adapters of a model, and where `with_score` the output layer of a classifier, as a folder of
// PEFT. Errors as above, and Error{usage} for another
// type than f32 and where nothing but the output layer is there. The result counts the adapters'
// parameters only.
ConversionResult convert_adapters(const Gpt& model, const AdapterBase& base, bool with_score,
                                  const ConversionTarget& target);

}  // namespace llm
