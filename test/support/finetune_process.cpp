#include "support/finetune_process.h"

#include <fmt/format.h>

#include "cpu_ref/cpu_backend.h"
#include "model/gpt.h"
#include "support/small_model.h"
#include "text/tokenizer.h"
#include "weights/model_folder.h"

namespace llm::test {
namespace {

std::string word(uint64_t number, char first) {
  std::string text;
  const uint64_t bits = mixed(number);
  for (uint64_t i = 0; i < 2 + bits % 5; ++i) {
    text += static_cast<char>(first + static_cast<char>((bits >> (8 * i + 8)) % 3));
  }
  return text;
}

std::string words(int64_t row, char first) {
  std::string text;
  const auto number = static_cast<uint64_t>(row);
  for (uint64_t i = 0; i < 2 + mixed(number) % 6; ++i) {
    text += (text.empty() ? "" : " ") + word(number * 16 + i, first);
  }
  return text;
}

}  // namespace

fs::path make_byte_model(const fs::path& folder, uint64_t seed) {
  const auto tokenizer = make_byte_tokenizer();
  ModelConfig config;
  config.layers = 1;
  config.heads = config.kv_heads = 2;
  config.channels = 16;
  config.hidden = 64;
  config.context = 256;
  config.vocab_size = tokenizer->vocab_size();
  const auto backend = make_cpu_backend();
  Gpt model(*backend, config, {});
  model.parameters().initialize(seed);
  write_model_folder(folder, model, tokenizer.get());
  return folder;
}

fs::path make_model_outline(const fs::path& folder, const ModelConfig& config) {
  make_directories(folder);
  write_model_config(folder, config, DType::f32);
  write_tokenizer_files(folder, config, make_byte_tokenizer().get());
  write_file_atomically(folder / "model.safetensors", "not there");
  return folder;
}

fs::path make_labeled_texts(const fs::path& path, int64_t rows) {
  std::string text = "label,text\n";
  for (int64_t row = 0; row < rows; ++row) {
    text += row % 2 == 0 ? "low," + words(row, 'a') : "high," + words(row, 'x');
    text += '\n';
  }
  write_file_atomically(path, text);
  return path;
}

fs::path make_instructions(const fs::path& path, int64_t rows) {
  Json list = Json::array();
  for (int64_t row = 0; row < rows; ++row) {
    Json record = {{"instruction", "Say " + word(static_cast<uint64_t>(row), 'a')},
                   {"input", row % 3 == 0 ? word(static_cast<uint64_t>(row), 'x') : ""},
                   {"output", word(static_cast<uint64_t>(row), 'a')}};
    list.push_back(record);
  }
  write_file_atomically(path, to_pretty_text(list));
  return path;
}

}  // namespace llm::test
