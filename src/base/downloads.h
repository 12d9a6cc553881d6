// The download folder, where models lie by the names that the hub gives them: gpt2, OWNER/NAME.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"

namespace llm {

// Says in the folder of a download what it holds; there from the beginning on.
inline constexpr const char* kDownloadRecord = "download.json";

// Only ASCII letters, digits, '-', '_' and '.': what means nothing special in a path or a URL.
bool is_plain_text(std::string_view text);

// NAME or OWNER/NAME: letters, digits, '-', '_' and '.', no part starting with '.' or '-'.
bool is_model_name(const std::string& name);

// The four that have short names here: "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl".
bool has_short_name(const std::string& name);

// The short name of a repository that has one ("openai-community/gpt2" -> "gpt2"), else the name.
std::string short_model_name(const std::string& name);

// LLM_HOME/models, else XDG_DATA_HOME/llm/models, else ~/.local/share/llm/models. Nothing if the
// environment has none of the three variables.
std::optional<fs::path> downloads_folder();

// Where the model of this name lies or would lie; nothing for what is no name, or without a
// download folder.
std::optional<fs::path> downloaded_model_folder(const std::string& name);

// What to say where `model` is neither a folder nor a downloaded model: which command brings it.
std::string hint_to_download(const std::string& model);

}  // namespace llm
