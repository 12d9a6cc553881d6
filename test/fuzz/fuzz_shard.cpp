// Token shards: opening, reading, verifying. The first byte chooses the vocabulary.
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/shard.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string path =
      (llm::fs::temp_directory_path() / ("llm_fuzz_shard_" + std::to_string(getpid()))).string();
  if (size == 0) return 0;
  const int64_t vocab_size = data[0] % 4 == 0 ? 0 : int64_t{data[0]} * 300;
  try {
    llm::FileWriter writer(path);
    writer.write({reinterpret_cast<const char*>(data) + 1, size - 1});
    writer.close();
    std::vector<llm::Shard> shards;
    const llm::Shard& shard = shards.emplace_back(path);
    std::vector<uint32_t> crcs;
    for (int64_t i = 0; i < shard.blocks(); ++i) crcs.push_back(shard.block_crc(i));
    shard.verify(crcs);
    std::vector<llm::TokenId> tokens(static_cast<size_t>(shard.tokens()));
    const llm::TokenSequence sequence(std::move(shards), vocab_size);
    sequence.read(0, tokens);
    for (const llm::TokenId id : tokens) {
      if (id < 0 || (vocab_size > 0 && id >= vocab_size)) __builtin_trap();
    }
  } catch (const llm::Error&) {
  }
  return 0;
}
