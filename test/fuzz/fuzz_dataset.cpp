// dataset.json beside two good shards.
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/shard.h"

namespace {

llm::fs::path make_folder() {
  const llm::fs::path folder =
      llm::fs::temp_directory_path() / ("llm_fuzz_dataset_" + std::to_string(getpid()));
  llm::make_directories(folder);
  const std::vector<llm::TokenId> tokens{1, 2, 3, 256};
  for (const char* name : {"train_000000.bin", "val_000000.bin"}) {
    llm::ShardWriter writer(folder / name, 257);
    writer.append(tokens);
    writer.finish();
  }
  return folder;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const llm::fs::path folder = make_folder();
  try {
    llm::FileWriter writer(folder / "dataset.json");
    writer.write({reinterpret_cast<const char*>(data), size});
    writer.close();
    const llm::Dataset dataset = llm::open_dataset(folder, 50257);
    if (dataset.vocab_size < 1 || dataset.vocab_size > 50257) __builtin_trap();
    std::vector<llm::TokenId> tokens(static_cast<size_t>(dataset.train.size()));
    dataset.train.read(0, tokens);
  } catch (const llm::Error&) {
  }
  return 0;
}
