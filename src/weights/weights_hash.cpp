#include "weights/weights_hash.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/log.h"
#include "base/parallel.h"
#include "weights/model_folder.h"
#include "weights/tensor_map.h"
#include "weights/tensor_source.h"

namespace llm {
namespace {

constexpr int64_t kHashedElements = 1 << 16;  // on the host at once, by thread
constexpr std::string_view kHashKind = "bf16:";
constexpr std::string_view kBodyPrefix = "transformer.";

// Of the values of a tensor, which lie together, in the order of the file.
std::string hash_of_values(const TensorSource& source, const SourceTensor& tensor) {
  Sha256 hash;
  const int64_t all = tensor.elements();
  const MatrixView view{tensor.data.data(), tensor.dtype, 1, all, all, 1};
  std::vector<float> piece;
  std::vector<uint16_t> rounded;
  for (int64_t begin = 0; begin < all; begin += kHashedElements) {
    const int64_t count = std::min(kHashedElements, all - begin);
    piece.resize(static_cast<size_t>(count));
    read_block(piece, view, 0, 1, begin, count);
    rounded.resize(piece.size());
    std::transform(piece.begin(), piece.end(), rounded.begin(), f32_to_bf16);
    hash.update(std::as_bytes(std::span(rounded)));
  }
  source.release(tensor.data);
  return hash.hex_digest();
}

std::string_view without_prefix(std::string_view name) {
  return name.starts_with(kBodyPrefix) ? name.substr(kBodyPrefix.size()) : name;
}

}  // namespace

std::string hash_of_weights(const fs::path& model_folder) {
  const ModelConfig config = read_model_config(model_folder);
  const TensorSource source = open_folder_weights(model_folder);
  std::vector<std::pair<std::string_view, const SourceTensor*>> tensors;
  for (const SourceTensor& tensor : source.tensors()) {
    // What is no floating point does not load either.
    if (is_mask_buffer(tensor.name) || !is_floating(tensor.dtype)) continue;
    if (config.tied && tensor.name == "lm_head.weight") continue;
    if (!config.bias && tensor.name.ends_with(".bias")) continue;
    if (!config.has_qkv_bias() && tensor.name.ends_with("attn.c_attn.bias")) continue;
    tensors.emplace_back(without_prefix(tensor.name), &tensor);
  }
  std::sort(tensors.begin(), tensors.end());
  std::vector<std::string> lines(tensors.size());
  parallel_for(std::ssize(tensors), thread_count(), [&](int64_t i) {
    const auto& [name, tensor] = tensors[static_cast<size_t>(i)];
    lines[static_cast<size_t>(i)] =
        fmt::format("{} {} {}\n", name, shape_text(tensor->shape), hash_of_values(source, *tensor));
  });
  Sha256 hash;
  for (const std::string& line : lines) hash.update(line);
  return fmt::format("{}{}", kHashKind, hash.hex_digest());
}

bool are_weights_of(const std::string& hash, const fs::path& model_folder) {
  if (hash.starts_with(kHashKind)) return hash == hash_of_weights(model_folder);
  log_warning(
      fmt::format("{}: cannot be compared with the weights that adapters were trained on, "
                  "which another version of this program noted",
                  model_folder.string()));
  return true;
}

}  // namespace llm
