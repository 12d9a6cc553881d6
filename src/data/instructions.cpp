#include "data/instructions.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "data/json_records.h"

namespace llm {
namespace {

constexpr const char* kForms =
    "a record is {\"instruction\": ..., \"input\": ..., \"output\": ...} or {\"messages\": "
    "[{\"role\": ..., \"content\": ...}, ...]}";

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

std::string text_of(const JsonObject& object, const std::string& key) {
  std::string text = object.text(key);
  if (is_blank(text)) object.fail(key, "is empty");
  return text;
}

void add(Conversation& conversation, ChatMessage message, bool learned) {
  conversation.messages.push_back(std::move(message));
  conversation.learned.push_back(learned);
}

void read_instruction(Conversation& conversation, const JsonObject& record) {
  std::string input = record.text("input", "");
  if (is_blank(input)) input.clear();
  add(conversation, {ChatRole::user, text_of(record, "instruction"), std::move(input)}, false);
  add(conversation, {ChatRole::assistant, text_of(record, "output")}, true);
}

ChatRole role_of(const JsonObject& message) {
  const std::string role = message.text("role");
  if (role == "system" || role == "developer") return ChatRole::system;
  if (role == "user") return ChatRole::user;
  if (role == "assistant") return ChatRole::assistant;
  message.fail("role",
               fmt::format("\"{}\" is none of system, user, assistant", role.substr(0, 60)));
}

void read_messages(Conversation& conversation, const JsonObject& record) {
  int64_t number = 0;
  for (const Json& value : record.array("messages")) {
    const JsonObject message(value, fmt::format("{}: message {}", record.where(), ++number));
    const ChatRole role = role_of(message);
    if (role == ChatRole::system && is_blank(message.text("content"))) continue;
    const bool learned = role == ChatRole::assistant && message.integer("weight", 0, 1, 1) == 1;
    add(conversation, {role, text_of(message, "content")}, learned);
  }
  const std::vector<ChatMessage>& messages = conversation.messages;
  chat_segments(ChatTemplate::plain, messages, record.where());  // throws for another order
  if (messages.empty() || messages.back().role != ChatRole::assistant) {
    record.fail("messages", "the last one is not of the assistant");
  }
  const std::vector<bool>& learned = conversation.learned;
  if (std::find(learned.begin(), learned.end(), true) == learned.end()) {
    record.fail("messages", "there is no answer to learn: each has the weight 0");
  }
}

std::string list_keys(const Json& record) {
  std::string keys;
  for (const auto& [key, value] : record.items()) {
    if (keys.size() > 200) return keys + ", ...";
    keys += (keys.empty() ? "" : ", ") + key.substr(0, 50);
  }
  return keys.empty() ? "none" : keys;
}

Conversation read_record(const JsonRecord& record, const std::string& name) {
  if (!record.problem.empty()) fail_input(record.where, record.problem, record.hint);
  const std::string where = text_place(name, record.line);
  const JsonObject object(record.value, where);
  Conversation conversation;
  conversation.line = record.line;
  if (object.has("messages")) {
    read_messages(conversation, object);
  } else if (object.has("instruction")) {
    read_instruction(conversation, object);
  } else {
    fail_input(where,
               fmt::format("neither \"instruction\" nor \"messages\" is there; its keys: {}",
                           list_keys(record.value)),
               kForms);
  }
  return conversation;
}

const char* name_of(ChatRole role) {
  if (role == ChatRole::system) return "system";
  return role == ChatRole::user ? "user" : "assistant";
}

}  // namespace

Conversations read_conversations(const fs::path& path, bool skip_bad_rows) {
  return read_conversations(open_bytes(path), input_name(path), skip_bad_rows);
}

Conversations read_conversations(ByteSource source, const std::string& name, bool skip_bad_rows) {
  JsonRecordReader reader(std::move(source), name);
  Conversations result{{}, BadRows(skip_bad_rows)};
  JsonRecord record;
  while (reader.next(record)) {
    try {
      result.all.push_back(read_record(record, name));
    } catch (const Error& error) {
      result.bad.add(error.where(), error.problem(), error.hint());
    }
  }
  require_rows(name, static_cast<int64_t>(result.all.size()), result.bad);
  return result;
}

Json conversation_json(const Conversation& conversation) {
  const std::vector<ChatMessage>& messages = conversation.messages;
  if (messages.size() == 2 && messages[0].role == ChatRole::user) {
    return {{"instruction", messages[0].text},
            {"input", messages[0].input},
            {"output", messages[1].text}};
  }
  Json list = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    Json message = {{"role", name_of(messages[i].role)}, {"content", messages[i].text}};
    const bool left_out = messages[i].role == ChatRole::assistant && !conversation.learned[i];
    if (left_out) message["weight"] = 0;
    list.push_back(std::move(message));
  }
  return {{"messages", std::move(list)}};
}

}  // namespace llm
