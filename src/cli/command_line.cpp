#include "cli/command_line.h"

#include "base/file.h"

namespace llm {

std::vector<std::string> command_line() {
  std::vector<std::string> words(1);
  const std::string text = read_text_file("/proc/self/cmdline", 1 << 22);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\0') {
      words.back() += text[i];
    } else if (i + 1 < text.size()) {
      words.emplace_back();
    }
  }
  return words;
}

}  // namespace llm
