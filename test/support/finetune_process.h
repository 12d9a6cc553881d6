// `llm finetune` as a process of its own, on a small model and small data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "model/config.h"
#include "support/subprocess.h"

namespace llm::test {

// A folder with a small untrained language model over bytes: one layer, 16 channels, context 256.
fs::path make_byte_model(const fs::path& folder, uint64_t seed = 7);
// A folder with the config of a model and a tokenizer of bytes, whose weights are not really there:
// enough for --dry-run.
fs::path make_model_outline(const fs::path& folder, const ModelConfig& config);

// A CSV file with a header and `rows` texts, half of them "high" (of the letters x, y, z), the
// others "low"; and a JSON list of `rows` instructions.
fs::path make_labeled_texts(const fs::path& path, int64_t rows);
fs::path make_instructions(const fs::path& path, int64_t rows);

}  // namespace llm::test
