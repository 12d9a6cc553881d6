#include "train/answers.h"

#include <fmt/format.h>

#include "base/json.h"

namespace llm {
namespace {

std::string without_space_around(const std::string& text) {
  constexpr const char* kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

}  // namespace

Answerer::Answerer(Workspace& workspace, const Tokenizer& tokenizer, ChatTemplate format,
                   int64_t most_tokens, int64_t at_once)
    : engine_(workspace.model, tokenizer),
      tokenizer_(tokenizer),
      format_(format),
      context_(workspace.model.config().context) {
  const ChatStops stops = chat_stops(format, tokenizer);
  generate_.sampler.temperature = 0;
  generate_.max_tokens = most_tokens;
  generate_.stop = stops.texts;
  generate_.stop_ids = stops.ids;
  generate_.max_batch = at_once;
}

std::vector<std::string> Answerer::answer(std::span<const Conversation> conversations) {
  std::vector<std::string> answers(conversations.size());
  std::vector<std::vector<TokenId>> prompts;
  std::vector<size_t> asked;
  for (size_t i = 0; i < conversations.size(); ++i) {
    std::vector<TokenId> ids =
        encode_chat(tokenizer_, chat_segments(format_, conversations[i].prompt(), "")).ids;
    if (ids.empty() || std::ssize(ids) >= context_) continue;
    prompts.push_back(std::move(ids));
    asked.push_back(i);
  }
  if (prompts.empty()) return answers;
  const std::vector<Generation> generations = engine_.generate(prompts, generate_);
  for (size_t i = 0; i < asked.size(); ++i) {
    answers[asked[i]] = without_space_around(generations[i].text);
  }
  return answers;
}

std::vector<TextSample> answer_samples(std::span<const Conversation> conversations,
                                       std::span<const std::string> answers) {
  std::vector<TextSample> samples;
  for (size_t i = 0; i < answers.size(); ++i) {
    const ChatMessage& asked = conversations[i].prompt().back();
    samples.push_back(
        {fmt::format("{}{}{}\nwanted: {}\nanswer: ", asked.text, asked.input.empty() ? "" : "\n",
                     asked.input, conversations[i].answer()),
         answers[i]});
  }
  return samples;
}

void write_responses(const fs::path& path, std::span<const Conversation> conversations,
                     std::span<const std::string> answers) {
  Json list = Json::array();
  for (size_t i = 0; i < answers.size(); ++i) {
    Json record = conversation_json(conversations[i]);
    record["model_response"] = answers[i];
    list.push_back(std::move(record));
  }
  write_file_atomically(path, to_pretty_text(list));
}

}  // namespace llm
