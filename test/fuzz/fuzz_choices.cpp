// Multiple-choice questions: refused with Error, or read with labels and endings that exist.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "train/multiple_choice.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    for (const llm::ChoiceItem& item : llm::parse_choice_items(text, "questions.jsonl")) {
      const auto label = static_cast<size_t>(item.label);
      LLM_ASSERT(label < item.endings.size());
      const llm::ChoiceText solved = llm::choice_text(item, label);
      LLM_ASSERT(solved.ending.ends_with(item.endings[label]));
    }
  } catch (const llm::Error&) {
    return 0;
  }
  return 0;
}
