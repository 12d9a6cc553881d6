// `llm pretrain` as a process of its own, on a small dataset.
#pragma once

#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "support/subprocess.h"

namespace llm::test {

// Arguments of a small run: 40 steps over `data`, one thread's worth of work each.
std::vector<std::string> pretrain_arguments(const fs::path& data, const fs::path& run,
                                            const std::vector<std::string>& more = {});
// The same with --resume and nothing but `more`.
std::vector<std::string> resume_arguments(const fs::path& run,
                                          const std::vector<std::string>& more = {});
// One thread, so that many such runs at once do not wait for each other.
ProcessOptions pretrain_environment();

// The manifest of a checkpoint holds the hash of every file, so equal manifests mean equal bits.
std::string manifest_of(const fs::path& run, int64_t step);
std::string file_hash(const fs::path& path);
// log.jsonl without times.
std::vector<Json> log_without_times(const fs::path& run);

// Replaces train_state.json of a checkpoint by what `change` makes of it, and the manifest's entry.
void change_state(const fs::path& run, int64_t step, const std::function<void(Json&)>& change);

}  // namespace llm::test
