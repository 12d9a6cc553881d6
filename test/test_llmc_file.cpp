// Model files of llm.c; test/golden/models/llm_c_* are by scripts/golden_models.py.
#include <gtest/gtest.h>

#include <cstring>

#include "support/expect_error.h"
#include "support/hostile_files.h"
#include "weights/llmc_file.h"

namespace llm {
namespace {

const fs::path kLlmcModels = fs::path(LLM_SOURCE_DIR) / "test" / "golden" / "models";

std::string golden(const std::string& name) {
  return read_text_file(kLlmcModels / name / "model.bin");
}

LlmcModel parse_llmc(const std::string& bytes) { return parse_llmc_file(as_bytes(bytes), "M"); }

std::string with_int(std::string bytes, size_t index, int32_t value) {
  std::memcpy(bytes.data() + 4 * index, &value, 4);
  return bytes;
}

TEST(LlmcFile, HeaderAndTensorsAreRead) {
  const std::string bytes = golden("llm_c_f32");
  EXPECT_TRUE(is_llmc_file(as_bytes(bytes)));
  const LlmcModel model = parse_llmc(bytes);
  EXPECT_EQ(model.config.layers, 2);
  EXPECT_EQ(model.config.heads, 3);
  EXPECT_EQ(model.config.channels, 15);
  EXPECT_EQ(model.config.hidden, 60);
  EXPECT_EQ(model.config.context, 9);
  EXPECT_EQ(model.config.vocab_size, 23);
  EXPECT_TRUE(model.config.tied);
  ASSERT_EQ(model.tensors.size(), 2u + 2 * 12 + 2);
  EXPECT_EQ(model.tensors[0].name, "wte.weight");
  EXPECT_EQ(model.tensors[0].shape, (std::vector<int64_t>{23, 15}));
  EXPECT_EQ(model.tensors[2].name, "h.0.ln_1.weight");
  EXPECT_EQ(model.tensors[3].name, "h.1.ln_1.weight");
  // Behind the padded table and the positions.
  EXPECT_EQ(reinterpret_cast<const char*>(model.tensors[2].data.data()) - bytes.data(),
            1024 + (128 + 9) * 15 * 4);
  EXPECT_EQ(parse_llmc(golden("llm_c_bf16")).tensors[0].dtype, DType::bf16);
}

TEST(LlmcFile, HostileFilesAreRefused) {
  const std::string good = golden("llm_c_f32");
  test::expect_refused(
      {
          {"empty", "", "magic"},
          {"magic", with_int(good, 0, 20240520), "20240326"},
          {"version 0", with_int(good, 1, 0), "version 0"},
          {"version 4", with_int(good, 1, 4), "version 4"},
          {"another type", with_int(good, 1, 5), "bytes of parameters"},
          {"no context", with_int(good, 2, 0), "context"},
          {"negative vocabulary", with_int(good, 3, -1), "vocabulary"},
          {"giant vocabulary", with_int(good, 3, INT32_MAX), "vocabulary"},
          {"no layers", with_int(good, 4, 0), "layers"},
          {"giant layers", with_int(good, 4, INT32_MAX), "layers"},
          {"many layers", with_int(good, 4, 10'000), "truncated"},
          {"one layer more", with_int(good, 4, 3), "truncated"},
          {"one layer less", with_int(good, 4, 1), "bytes of parameters"},
          {"no heads", with_int(good, 5, 0), "heads"},
          {"four heads", with_int(good, 5, 4), "4 heads"},
          {"giant channels", with_int(good, 6, INT32_MAX), "channels"},
          {"wide", with_int(with_int(good, 6, 1 << 20), 5, 1), "truncated"},
          {"padding below", with_int(good, 7, 22), "padded vocabulary is 22"},
          {"padding giant", with_int(good, 7, INT32_MAX), "truncated"},
          {"padding negative", with_int(good, 7, -1), "padded vocabulary"},
          {"byte missing", good.substr(0, good.size() - 1), "truncated"},
          {"byte behind", good + "x", "bytes of parameters"},
      },
      "M", parse_llmc);
  for (size_t size = 0; size < 1100; ++size) EXPECT_THROW(parse_llmc(good.substr(0, size)), Error);
}

}  // namespace
}  // namespace llm
