#include "text/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "text/special_tokens.h"
#include "text/tokenizer_facts.h"

namespace llm {
namespace {

constexpr std::string_view kTurnStart = "<|im_start|>", kTurnEnd = "<|im_end|>";
constexpr std::string_view kInstruction = "### Instruction:", kInput = "### Input:",
                           kResponse = "### Response:";

constexpr std::array kTemplates = {
    std::pair{ChatTemplate::plain, std::string_view("plain")},
    std::pair{ChatTemplate::book, std::string_view("book")},
    std::pair{ChatTemplate::alpaca, std::string_view("alpaca")},
    std::pair{ChatTemplate::chatml, std::string_view("chatml")},
};

std::optional<ChatTemplate> find_template(std::string_view name) {
  for (const auto& [format, its_name] : kTemplates) {
    if (its_name == name) return format;
  }
  return std::nullopt;
}

const char* role_name(ChatRole role) {
  switch (role) {
    case ChatRole::system:
      return "system";
    case ChatRole::user:
      return "user";
    case ChatRole::assistant:
      return "assistant";
  }
  return "";
}

void check_order(std::span<const ChatMessage> messages, const std::string& where) {
  ChatRole expected = ChatRole::user;
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatRole role = messages[i].role;
    if (i == 0 && role == ChatRole::system) continue;
    if (role != expected) {
      fail_input(where,
                 fmt::format("message {} is of the {}, expected one of the {}", i + 1,
                             role_name(role), role_name(expected)),
                 "a system message or none, then user and assistant in turns");
    }
    expected = role == ChatRole::user ? ChatRole::assistant : ChatRole::user;
  }
}

class Writer {
 public:
  // Text of one kind in a row is one segment.
  void prompt(std::string_view text) {
    const bool joins = !segments_.empty() && !segments_.back().marker && !segments_.back().answer;
    if (!joins) segments_.push_back({});
    segments_.back().text += text;
  }
  void answer(std::string_view text) { segments_.push_back({std::string(text), false, true}); }
  void marker(std::string_view text, bool answer) {
    segments_.push_back({std::string(text), true, answer});
  }
  bool empty() const { return segments_.empty(); }
  std::vector<ChatSegment> take() { return std::move(segments_); }

 private:
  std::vector<ChatSegment> segments_;
};

void write_plain(Writer& writer, std::span<const ChatMessage> messages) {
  ChatRole before = ChatRole::user;
  for (const ChatMessage& message : messages) {
    if (!writer.empty() && before != ChatRole::user) writer.prompt("\n");
    if (message.role == ChatRole::assistant) {
      writer.answer(message.text);
    } else {
      writer.prompt(message.text);
      if (!message.input.empty()) writer.prompt("\n" + message.input);
    }
    before = message.role;
  }
}

std::string_view first_sentence(ChatTemplate format, const ChatMessage& message) {
  if (format == ChatTemplate::alpaca && !message.input.empty()) {
    return "Below is an instruction that describes a task, paired with an input that provides "
           "further context. Write a response that appropriately completes the request.";
  }
  return "Below is an instruction that describes a task. Write a response that appropriately "
         "completes the request.";
}

void write_sections(Writer& writer, ChatTemplate format, std::span<const ChatMessage> messages) {
  for (const ChatMessage& message : messages) {
    if (message.role == ChatRole::system) {
      writer.prompt(message.text);
      continue;
    }
    if (message.role == ChatRole::assistant) {
      writer.answer(message.text);
      writer.marker(kEndOfText, true);
      continue;
    }
    if (writer.empty()) writer.prompt(first_sentence(format, message));
    writer.prompt(fmt::format("\n\n{}\n{}", kInstruction, message.text));
    if (!message.input.empty()) writer.prompt(fmt::format("\n\n{}\n{}", kInput, message.input));
    writer.prompt(fmt::format("\n\n{}\n", kResponse));
  }
}

void write_chatml(Writer& writer, std::span<const ChatMessage> messages) {
  const auto begin = [&](ChatRole role) {
    writer.marker(kTurnStart, false);
    writer.prompt(fmt::format("{}\n", role_name(role)));
  };
  for (const ChatMessage& message : messages) {
    const bool answer = message.role == ChatRole::assistant;
    begin(message.role);
    if (answer) {
      writer.answer(message.text);
    } else {
      writer.prompt(message.text);
      if (!message.input.empty()) writer.prompt("\n\n" + message.input);
    }
    writer.marker(kTurnEnd, answer);
    writer.prompt("\n");
  }
  if (!messages.empty() && messages.back().role == ChatRole::user) begin(ChatRole::assistant);
}

std::optional<TokenId> find_special(const Tokenizer& tokenizer, std::string_view text) {
  for (const SpecialToken& token : tokenizer.special_tokens()) {
    if (token.text == text) return token.id;
  }
  return std::nullopt;
}

}  // namespace

ChatTemplate chat_template_named(const std::string& name) {
  if (const auto format = find_template(name)) return *format;
  fail_usage("--template",
             fmt::format("\"{}\" is none of plain, book, alpaca, chatml", name.substr(0, 100)));
}

std::string_view chat_template_name(ChatTemplate format) {
  for (const auto& [its_format, name] : kTemplates) {
    if (its_format == format) return name;
  }
  return "";
}

std::vector<ChatSegment> chat_segments(ChatTemplate format, std::span<const ChatMessage> messages,
                                       const std::string& where) {
  check_order(messages, where);
  Writer writer;
  switch (format) {
    case ChatTemplate::plain:
      write_plain(writer, messages);
      break;
    case ChatTemplate::book:
    case ChatTemplate::alpaca:
      write_sections(writer, format, messages);
      break;
    case ChatTemplate::chatml:
      write_chatml(writer, messages);
      break;
  }
  return writer.take();
}

ChatTokens encode_chat(const Tokenizer& tokenizer, std::span<const ChatSegment> segments) {
  ChatTokens tokens;
  for (const ChatSegment& segment : segments) {
    const auto special = segment.marker ? find_special(tokenizer, segment.text) : std::nullopt;
    if (special) {
      tokens.ids.push_back(*special);
    } else if (!segment.marker || segment.text != kEndOfText) {
      tokenizer.encode(segment.text, tokens.ids);
    }
    tokens.answer.resize(tokens.ids.size(), segment.answer);
  }
  return tokens;
}

ChatStops chat_stops(ChatTemplate format, const Tokenizer& tokenizer) {
  ChatStops stops;
  if (const auto end = tokenizer.end_of_text()) stops.ids.push_back(*end);
  if (format == ChatTemplate::book || format == ChatTemplate::alpaca) {
    stops.texts.push_back(fmt::format("\n\n{}", kInstruction));  // it would go on asking itself
  }
  if (format == ChatTemplate::chatml) {
    for (const std::string_view marker : {kTurnEnd, kTurnStart}) {
      if (const auto special = find_special(tokenizer, marker)) {
        stops.ids.push_back(*special);
      } else {
        stops.texts.emplace_back(marker);
      }
    }
  }
  return stops;
}

namespace {

// A template by the name that the file has at `key`.
ChatTemplate template_at(const std::string& name, const std::string& file, const char* key) {
  if (const auto format = find_template(name)) return *format;
  fail_input(file, fmt::format("{}: \"{}\" is none of plain, book, alpaca, chatml", key,
                               name.substr(0, 100)));
}

}  // namespace

ChatTemplate parse_chat_file(std::string_view text, const std::string& where) {
  const Json json = parse_json(text, where, kTokenizerFactLimits);
  return template_at(JsonObject(json, where).text("template"), where, "template");
}

void write_chat_file(const fs::path& directory, ChatTemplate format) {
  write_file_atomically(directory / kChatFile,
                        to_pretty_text(Json{{"template", chat_template_name(format)}}));
}

std::optional<ChatTemplate> read_chat_template(const fs::path& directory) {
  if (const fs::path path = directory / kChatFile; fs::exists(path)) {
    return parse_chat_file(read_text_file(path, kTokenizerFactLimits.max_bytes), path.string());
  }
  const TokenizerFacts facts = read_tokenizer_facts(directory);
  if (facts.chat_template_name) {
    return template_at(*facts.chat_template_name, (directory / kTokenizerConfigFile).string(),
                       "chat_template_name");
  }
  if (facts.chat_template.is_null()) return std::nullopt;
  // A list of several templates in older files: looked through as text.
  if (facts.chat_template.dump().find(kTurnStart) != std::string::npos) {
    return ChatTemplate::chatml;
  }
  log_warning(
      fmt::format("{}: its chat template is not one that this program knows; choose one "
                  "with --template",
                  facts.chat_template_file.string()));
  return std::nullopt;
}

}  // namespace llm
