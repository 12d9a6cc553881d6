#include "weights/tensor_map.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace llm {
namespace {

constexpr std::string_view kPrefix = "transformer.";
constexpr std::string_view kWeight = ".weight";

FileTensor named(const std::string& bare_name) {
  FileTensor tensor;
  tensor.bare_name = bare_name;
  // The output layer lies beside the transformer, not in it.
  tensor.name = bare_name == "lm_head.weight" ? bare_name : std::string(kPrefix) + bare_name;
  return tensor;
}

// In GPT-2 every norm and every linear layer of a block has a bias.
bool has_bias_in_files(const std::string& name) {
  return (name.starts_with("h.") || name.starts_with("ln_f.")) && name.ends_with(kWeight);
}

}  // namespace

std::vector<FileTensor> file_tensors(const ParameterStore& store) {
  std::vector<FileTensor> tensors;
  std::unordered_set<std::string_view> names;
  for (const Parameter& parameter : store.parameters()) names.insert(parameter.name);
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    const Parameter& parameter = store.parameters()[i];
    FileTensor tensor = named(parameter.name);
    tensor.parameter = static_cast<int>(i);
    tensor.shape = parameter.shape;
    tensor.transposed = parameter.transposed_in_files;
    if (tensor.transposed) std::swap(tensor.shape[0], tensor.shape[1]);
    tensors.push_back(std::move(tensor));

    if (!has_bias_in_files(parameter.name)) continue;
    const std::string bias =
        parameter.name.substr(0, parameter.name.size() - kWeight.size()) + ".bias";
    if (names.contains(bias)) continue;
    FileTensor zeros = named(bias);
    zeros.shape = {parameter.shape[0]};
    tensors.push_back(std::move(zeros));
  }
  return tensors;
}

bool is_mask_buffer(const std::string& name) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
}

void copy_tensor(ParameterStore& store, int index, Tensor arena, const SafetensorsFile& file,
                 const TensorInfo& tensor) {
  constexpr int64_t kPiece = 1 << 18;  // elements on the host at once
  const int64_t size = tensor.elements();
  std::vector<float> piece;
  for (int64_t begin = 0; begin < size; begin += kPiece) {
    piece.resize(static_cast<size_t>(std::min(kPiece, size - begin)));
    file.read_f32(tensor, piece, begin);
    store.write(index, arena, piece, begin);
  }
}

}  // namespace llm
