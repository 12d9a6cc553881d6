// Reading the items of multiple_choice.h.
#include <fmt/format.h>

#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "train/multiple_choice.h"

namespace llm {
namespace {

constexpr int64_t kMaxEndings = 1000;
constexpr const char* kHint =
    "every line looks like {\"ctx\": \"...\", \"endings\": [\"...\", \"...\"], \"label\": 0}";
constexpr JsonLimits kLineLimits = {.max_depth = 16, .max_bytes = 16 << 20, .max_values = 100'000};

Json parse_line(std::string_view line, const std::string& where) {
  try {
    return parse_json(line, where, kLineLimits);
  } catch (const Error& error) {
    // The line within the text given to the parser says nothing: there is only one.
    std::string place = error.where();
    constexpr std::string_view kInner = ", line 1, ";
    if (const size_t at = place.rfind(kInner); at != std::string::npos) {
      place.replace(at, kInner.size(), ", ");
    }
    fail_input(place, error.problem(), kHint);
  }
}

std::vector<std::string> endings_of(const JsonObject& object) {
  std::vector<std::string> endings;
  for (const Json& ending : object.array("endings")) {
    if (!ending.is_string()) {
      object.fail("endings", fmt::format("expected strings, found {}", ending.type_name()));
    }
    endings.push_back(ending.get<std::string>());
    if (endings.back().empty()) {
      object.fail("endings", fmt::format("number {} is empty", endings.size() - 1));
    }
  }
  const auto count = static_cast<int64_t>(endings.size());
  if (count < 2 || count > kMaxEndings) {
    object.fail("endings", fmt::format("{} of them, must be 2 to {}", count, kMaxEndings));
  }
  return endings;
}

int64_t label_of(const JsonObject& object, int64_t endings) {
  if (!object.has("label") || !object.value("label").is_string()) {
    return object.integer("label", 0, endings - 1);
  }
  const std::string text = object.text("label");
  int64_t label = text.empty() || text.size() > 4 ? -1 : 0;
  for (const char digit : text) {
    if (label >= 0) label = digit >= '0' && digit <= '9' ? label * 10 + (digit - '0') : -1;
  }
  if (label < 0 || label >= endings) {
    object.fail("label", fmt::format("\"{}\" is not a number from 0 to {}", text.substr(0, 50),
                                     endings - 1));
  }
  return label;
}

}  // namespace

std::vector<ChoiceItem> parse_choice_items(std::string_view text, const std::string& name) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::vector<ChoiceItem> items;
  int64_t number = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    ChoiceItem item;
    item.where = fmt::format("{}: line {}", name, with_commas(number));
    const Json value = parse_line(line, item.where);
    with_hint(kHint, [&] {
      const JsonObject object(value, item.where);
      item.context = object.text("ctx");
      item.endings = endings_of(object);
      item.label = label_of(object, static_cast<int64_t>(item.endings.size()));
    });
    items.push_back(std::move(item));
  }
  if (items.empty()) fail_input(name, "has no items", kHint);
  return items;
}

std::vector<ChoiceItem> read_choice_items(const fs::path& path) {
  return parse_choice_items(read_text_file(path), path == "-" ? "standard input" : path.string());
}

}  // namespace llm
