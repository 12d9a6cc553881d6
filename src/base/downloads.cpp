#include "base/downloads.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

namespace llm {
namespace {

constexpr std::array<std::string_view, 4> kShortNames = {"gpt2", "gpt2-medium", "gpt2-large",
                                                         "gpt2-xl"};
constexpr std::string_view kOwnerOfShortNames = "openai-community/";
constexpr size_t kMaxPart = 96;  // of a name, as on the hub

bool is_part_of_name(std::string_view part) {
  if (part.empty() || part.size() > kMaxPart || part[0] == '.' || part[0] == '-') return false;
  return is_plain_text(part);
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

bool is_plain_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

bool is_model_name(const std::string& name) {
  const size_t slash = name.find('/');
  if (slash == std::string::npos) return is_part_of_name(name);
  const std::string_view all = name;
  return is_part_of_name(all.substr(0, slash)) && is_part_of_name(all.substr(slash + 1));
}

bool has_short_name(const std::string& name) {
  return std::find(kShortNames.begin(), kShortNames.end(), short_model_name(name)) !=
         kShortNames.end();
}

std::string short_model_name(const std::string& name) {
  if (!name.starts_with(kOwnerOfShortNames)) return name;
  const std::string rest = name.substr(kOwnerOfShortNames.size());
  const bool known = std::find(kShortNames.begin(), kShortNames.end(), rest) != kShortNames.end();
  return known ? rest : name;
}

std::optional<fs::path> downloads_folder() {
  if (const std::string home = variable("LLM_HOME"); !home.empty())
    return fs::path(home) / "models";
  // A relative XDG_DATA_HOME is to be ignored: that is how its specification wants it.
  if (const fs::path data = variable("XDG_DATA_HOME"); data.is_absolute()) {
    return data / "llm" / "models";
  }
  const std::string home = variable("HOME");
  if (home.empty()) return std::nullopt;
  return fs::path(home) / ".local" / "share" / "llm" / "models";
}

std::optional<fs::path> downloaded_model_folder(const std::string& name) {
  const std::optional<fs::path> folder = downloads_folder();
  if (!folder || !is_model_name(name)) return std::nullopt;
  return *folder / short_model_name(name);
}

std::string hint_to_download(const std::string& model) {
  if (has_short_name(model)) return fmt::format("`llm download {}` brings it", model);
  const std::string accepted =
      "a model folder, a run folder, a checkpoint folder, or the name of a "
      "model that was downloaded";
  if (!is_model_name(model) || model.find('/') == std::string::npos) {
    return "MODEL is " + accepted;
  }
  return fmt::format("is the path right? MODEL is {}; `llm download {}` brings one of that name",
                     accepted, model);
}

}  // namespace llm
