// plan.json: refused with Error, or read, and what is read is written and read again the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backend/tuning_plan.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  llm::TuningPlan plan(llm::TuningPlan::Identity{{"gpu", "a"}});
  try {
    plan.from_json(text, "plan.json");
  } catch (const llm::Error&) {
    return 0;
  }
  llm::TuningPlan again(llm::TuningPlan::Identity{{"gpu", "a"}});
  again.from_json(plan.to_json(), "again");
  LLM_ASSERT(again.to_json() == plan.to_json());
  return 0;
}
