#include "weights/llmc_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "base/byte_reader.h"
#include "base/error.h"

namespace llm {
namespace {

constexpr int32_t kMagic = 20240326, kVersionF32 = 3, kVersionBf16 = 5;
constexpr int kHeaderInts = 256;
constexpr int64_t kVocabMultiple = 128;

// The order of the parameters. Shapes in channels C; 0 columns: a vector.
struct Section {
  std::string_view name;  // within a block
  int rows, columns;
};
constexpr std::array kBlockSections = {
    Section{"ln_1.weight", 1, 0},        Section{"ln_1.bias", 1, 0},
    Section{"attn.c_attn.weight", 3, 1}, Section{"attn.c_attn.bias", 3, 0},
    Section{"attn.c_proj.weight", 1, 1}, Section{"attn.c_proj.bias", 1, 0},
    Section{"ln_2.weight", 1, 0},        Section{"ln_2.bias", 1, 0},
    Section{"mlp.c_fc.weight", 4, 1},    Section{"mlp.c_fc.bias", 4, 0},
    Section{"mlp.c_proj.weight", 1, 4},  Section{"mlp.c_proj.bias", 1, 0}};

struct PlacedTensor {
  std::string name;
  std::vector<int64_t> shape;
  int64_t padding = 0;  // rows behind it that are no part of it
};

std::vector<PlacedTensor> layout_of(const ModelConfig& config, int64_t padded_vocab) {
  const int64_t C = config.channels;
  std::vector<PlacedTensor> tensors;
  tensors.push_back({"wte.weight", {config.vocab_size, C}, padded_vocab - config.vocab_size});
  tensors.push_back({"wpe.weight", {config.context, C}});
  for (const Section& section : kBlockSections) {
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      PlacedTensor tensor{fmt::format("h.{}.{}", layer, section.name), {section.rows * C}};
      if (section.columns > 0) tensor.shape.push_back(section.columns * C);
      tensors.push_back(std::move(tensor));
    }
  }
  tensors.push_back({"ln_f.weight", {C}});
  tensors.push_back({"ln_f.bias", {C}});
  return tensors;
}

struct Header {
  ModelConfig config;
  DType dtype = DType::f32;
  int64_t padded_vocab = 0;
};

Header read_header(ByteReader& reader, const std::string& where) {
  if (reader.read<int32_t>("magic") != kMagic) {
    fail_input(where, "does not begin with 20240326", "no model file of llm.c?");
  }
  const auto version = reader.read<int32_t>("version");
  if (version != kVersionF32 && version != kVersionBf16) {
    fail_input(where, fmt::format("version {} of llm.c's model files", version),
               "3 (f32) and 5 (bf16) are read");
  }
  Header header;
  header.dtype = version == kVersionF32 ? DType::f32 : DType::bf16;
  ModelConfig& config = header.config;
  config.context = reader.read<int32_t>("context");
  config.vocab_size = reader.read<int32_t>("vocabulary");
  config.layers = reader.read<int32_t>("layers");
  config.heads = config.kv_heads = reader.read<int32_t>("heads");
  config.channels = reader.read<int32_t>("channels");
  config.hidden = 4 * config.channels;
  header.padded_vocab = reader.read<int32_t>("padded vocabulary");
  try {
    validate(config, where + ", header");
  } catch (const Error& error) {  // the numbers come from a file, not from the command line
    fail_input(error.where(), error.problem(), "no model file of llm.c, or damaged?");
  }
  if (header.padded_vocab < config.vocab_size) {
    fail_input(where + ", header",
               fmt::format("the padded vocabulary is {}, the vocabulary {}", header.padded_vocab,
                           config.vocab_size),
               "damaged?");
  }
  reader.seek(0);
  reader.take(kHeaderInts * 4, "header");
  return header;
}

}  // namespace

bool is_llmc_file(Bytes bytes) {
  return bytes.size() >= 4 && ByteReader(bytes, "").read<int32_t>("") == kMagic;
}

LlmcModel parse_llmc_file(Bytes bytes, const std::string& where) {
  ByteReader reader(bytes, where);
  const Header header = read_header(reader, where);
  // Each number is limited, so that the sum fits by far; but it is compared before any name is
  // made.
  const int64_t padding = (header.padded_vocab - header.config.vocab_size) * header.config.channels;
  const int64_t needed = (parameter_count(header.config) + padding) * dtype_bytes(header.dtype);
  if (needed != reader.remaining()) {
    fail_input(where,
               fmt::format("{} bytes of parameters, the header asks for {}",
                           with_commas(reader.remaining()), with_commas(needed)),
               reader.remaining() < needed ? "truncated?" : "no model file of llm.c, or damaged?");
  }
  LlmcModel model{header.config, {}};
  for (const PlacedTensor& placed : layout_of(header.config, header.padded_vocab)) {
    SourceTensor tensor{
        placed.name, where, header.dtype, placed.shape, contiguous_strides(placed.shape), {}};
    tensor.data = reader.take(tensor.bytes(), placed.name);
    reader.take(placed.padding * header.config.channels * dtype_bytes(header.dtype), "padding");
    model.tensors.push_back(std::move(tensor));
  }
  return model;
}

void require_llmc_form(const ModelConfig& config, DType dtype) {
  if (!config.tied) {
    fail_usage("--format llm.c", "its output layer is always tied, this model's is not",
               "export it in another --format");
  }
  if (dtype == DType::f16) fail_usage("--format llm.c", "has no f16", "f32 or bf16");
}

void write_llmc_file(const fs::path& path, const ModelConfig& config, const ParameterStore& store,
                     const ReadParameter& read, DType dtype) {
  std::map<std::string, FileTensor> by_name;
  for (FileTensor& tensor : file_tensors(store, Naming::llm_c)) {
    by_name.emplace(tensor.name, tensor);
  }
  const int64_t padded = (config.vocab_size + kVocabMultiple - 1) / kVocabMultiple * kVocabMultiple;
  std::array<int32_t, kHeaderInts> header{};
  const std::array<int64_t, 8> facts = {
      kMagic,          dtype == DType::f32 ? kVersionF32 : kVersionBf16,
      config.context,  config.vocab_size,
      config.layers,   config.heads,
      config.channels, padded};
  std::ranges::transform(facts, header.begin(), [](int64_t n) { return static_cast<int32_t>(n); });
  FileWriter file(path);
  file.write(std::as_bytes(std::span(header)));
  for (const PlacedTensor& placed : layout_of(config, padded)) {
    const FileTensor& tensor = by_name.at(placed.name);
    LLM_ASSERT(tensor.shape == placed.shape, "{}", placed.name);
    stream_tensor(tensor, read, dtype, [&](Bytes bytes) { file.write(bytes); });
    const std::string row(static_cast<size_t>(config.channels * dtype_bytes(dtype)), '\0');
    for (int64_t i = 0; i < placed.padding; ++i) file.write(row);
  }
  file.sync();
  file.close();
}

}  // namespace llm
