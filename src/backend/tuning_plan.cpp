#include "backend/tuning_plan.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"

namespace llm {
namespace {

constexpr const char* kFormat = "llm tuning plan 1";
constexpr size_t kLongestKey = 200;
// A plan of a run has some dozens of choices; these bounds only stop what is no plan.
constexpr JsonLimits kLimits = {.max_depth = 8, .max_bytes = 16 << 20, .max_values = 1'000'000};

struct Contents {
  TuningPlan::Identity identity;
  std::map<std::string, Json> choices;
};

Contents read_contents(std::string_view text, const std::string& where) {
  const Json json = parse_json(text, where, kLimits);
  const JsonObject root(json, where);
  if (root.text("format") != kFormat) root.fail("format", fmt::format("is not \"{}\"", kFormat));
  Contents contents;
  const JsonObject identity = root.object("identity");
  for (const auto& [name, value] : identity.json().items()) {
    contents.identity[name] = identity.text(name);
  }
  const JsonObject choices = root.object("choices");
  for (const auto& [key, choice] : choices.json().items()) {
    if (key.empty() || key.size() > kLongestKey) {
      root.fail("choices", fmt::format("has a key of {} bytes (1 to {})", key.size(), kLongestKey));
    }
    if (!choice.is_object()) choices.fail(key, "is no object");
    contents.choices[key] = choice;
  }
  return contents;
}

std::string identity_text(const TuningPlan::Identity& identity) {
  std::string text;
  for (const auto& [name, value] : identity) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value.substr(0, 60));
  }
  return text;
}

}  // namespace

const Json* TuningPlan::find(const std::string& key) const {
  const auto found = choices_.find(key);
  return found == choices_.end() ? nullptr : &found->second;
}

void TuningPlan::set(const std::string& key, Json choice, bool measured) {
  LLM_ASSERT(choice.is_object() && !key.empty() && key.size() <= kLongestKey, "key {}", key);
  choices_[key] = std::move(choice);
  changed_ |= measured;
}

std::string TuningPlan::to_json() const {
  Json json;
  json["format"] = kFormat;
  json["identity"] = Json::object();
  for (const auto& [name, value] : identity_) json["identity"][name] = value;
  // One choice per line: plans are compared and read by people.
  std::string choices;
  for (const auto& [key, choice] : choices_) {
    choices +=
        fmt::format("{}\n    {}: {}", choices.empty() ? "" : ",", to_line(key), to_line(choice));
  }
  return fmt::format("{{\n  \"format\": {},\n  \"identity\": {},\n  \"choices\": {{{}\n  }}\n}}\n",
                     to_line(json["format"]), to_line(json["identity"]), choices);
}

void TuningPlan::from_json(std::string_view text, const std::string& where) {
  Contents contents = read_contents(text, where);
  if (contents.identity != identity_) {
    throw Error(ErrorKind::device, where,
                fmt::format("the algorithms were chosen for {}, this is {}",
                            identity_text(contents.identity), identity_text(identity_)),
                "use --retune to choose anew");
  }
  for (auto& [key, choice] : contents.choices) choices_[key] = std::move(choice);
}

bool TuningPlan::load(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return false;
  const char* hint = "delete the file: it is made again";
  return with_hint(hint, [&] {
    Contents contents = read_contents(read_text_file(path, kLimits.max_bytes), path.string());
    if (contents.identity != identity_) return false;
    for (auto& [key, choice] : contents.choices) choices_[key] = std::move(choice);
    return true;
  });
}

void TuningPlan::save(const fs::path& path) {
  if (path.has_parent_path()) make_directories(path.parent_path());
  write_file_atomically(path, to_json());
  changed_ = false;
}

}  // namespace llm
