#include "weights/tensor_map.h"

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include "base/error.h"

namespace llm {
namespace {

constexpr std::string_view kPrefix = "transformer.";
constexpr std::string_view kWeight = ".weight";
// Output layers stand beside the transformer, not in it.
constexpr std::string_view kHead = "lm_head.weight", kScore = "score.weight";

struct Renaming {
  std::string_view ours, theirs;
};
// What the book's model calls the parameters outside of the blocks, and those of a block.
constexpr std::array kBookOutside = {
    Renaming{"wte.weight", "tok_emb.weight"}, Renaming{"wpe.weight", "pos_emb.weight"},
    Renaming{"ln_f.weight", "final_norm.scale"}, Renaming{"ln_f.bias", "final_norm.shift"},
    Renaming{"lm_head.weight", "out_head.weight"}};
constexpr std::array kBookInBlock = {Renaming{"ln_1.weight", "norm1.scale"},
                                     Renaming{"ln_1.bias", "norm1.shift"},
                                     Renaming{"ln_2.weight", "norm2.scale"},
                                     Renaming{"ln_2.bias", "norm2.shift"},
                                     Renaming{"attn.c_proj.weight", "att.out_proj.weight"},
                                     Renaming{"attn.c_proj.bias", "att.out_proj.bias"},
                                     Renaming{"mlp.c_fc.weight", "ff.layers.0.weight"},
                                     Renaming{"mlp.c_fc.bias", "ff.layers.0.bias"},
                                     Renaming{"mlp.c_proj.weight", "ff.layers.2.weight"},
                                     Renaming{"mlp.c_proj.bias", "ff.layers.2.bias"}};
constexpr std::array<std::string_view, 3> kBookQkv = {"att.W_query", "att.W_key", "att.W_value"};

// "h.3.attn.c_proj.bias" -> "h.3." and "attn.c_proj.bias"; "" and the name outside of the blocks.
std::pair<std::string_view, std::string_view> split_block(std::string_view name) {
  if (!name.starts_with("h.")) return {"", name};
  const size_t end = name.find('.', 2) + 1;
  return {name.substr(0, end), name.substr(end)};
}

bool is_qkv(std::string_view name) { return name.find(".attn.c_attn.") != std::string_view::npos; }

template <size_t size>
std::string_view renamed(const std::array<Renaming, size>& table, std::string_view name) {
  for (const Renaming& entry : table) {
    if (entry.ours == name) return entry.theirs;
  }
  LLM_ASSERT(false, "{} has no name there", name);
  return {};
}

std::string book_block(std::string_view block) {  // "h.3." -> "trf_blocks.3."
  return "trf_blocks." + std::string(block.substr(2));
}

std::string name_in_files(const std::string& name, Naming naming) {
  if (naming == Naming::llm_c) return name;
  if (naming == Naming::hugging_face) {
    return name == kHead || name == kScore ? name : std::string(kPrefix) + name;
  }
  const auto [block, rest] = split_block(name);
  if (block.empty()) return std::string(renamed(kBookOutside, rest));
  return book_block(block) + std::string(renamed(kBookInBlock, rest));
}

// In GPT-2 every norm and every linear layer of a block has a bias.
bool has_bias_in_files(const std::string& name, Naming naming) {
  if (naming == Naming::book && is_qkv(name)) return false;
  return (name.starts_with("h.") || name.starts_with("ln_f.")) && name.ends_with(kWeight);
}

FileTensor whole(const std::string& name, Naming naming) {
  FileTensor tensor;
  tensor.name = name_in_files(name, naming);
  tensor.bare_name = naming == Naming::hugging_face ? name : tensor.name;
  return tensor;
}

// q, k and v as three tensors: the rows of c_attn, as many for k as for v.
void add_book_qkv(std::vector<FileTensor>& tensors, const Parameter& parameter, int index,
                  int64_t channels) {
  const auto [block, rest] = split_block(parameter.name);
  const int64_t kv_rows = (parameter.shape[0] - channels) / 2;
  int64_t row = 0;
  for (const std::string_view part : kBookQkv) {
    FileTensor tensor;
    tensor.name = book_block(block) + std::string(part) +
                  std::string(rest.substr(std::string_view("attn.c_attn").size()));
    tensor.bare_name = tensor.name;
    tensor.parameter = index;
    tensor.row_begin = row;
    tensor.shape = parameter.shape;
    tensor.shape[0] = row == 0 ? channels : kv_rows;
    row += tensor.shape[0];
    tensors.push_back(std::move(tensor));
  }
}

}  // namespace

int64_t FileTensor::rows() const { return transposed ? shape[1] : shape[0]; }

int64_t FileTensor::columns() const {
  return shape.size() == 1 ? 1 : transposed ? shape[0] : shape[1];
}

std::vector<FileTensor> file_tensors(const ParameterStore& store, Naming naming) {
  std::vector<FileTensor> tensors;
  std::unordered_set<std::string_view> names;
  for (const Parameter& parameter : store.parameters()) names.insert(parameter.name);
  const int64_t channels = store.parameters().front().shape[1];  // of the token embedding
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    const Parameter& parameter = store.parameters()[i];
    if (parameter.adapter) continue;
    if (naming == Naming::book && is_qkv(parameter.name)) {
      add_book_qkv(tensors, parameter, static_cast<int>(i), channels);
      continue;
    }
    FileTensor tensor = whole(parameter.name, naming);
    tensor.parameter = static_cast<int>(i);
    tensor.shape = parameter.shape;
    tensor.transposed = naming == Naming::hugging_face && parameter.transposed_in_files;
    if (tensor.transposed) std::swap(tensor.shape[0], tensor.shape[1]);
    tensors.push_back(std::move(tensor));

    if (!has_bias_in_files(parameter.name, naming)) continue;
    const std::string bias =
        parameter.name.substr(0, parameter.name.size() - kWeight.size()) + ".bias";
    if (names.contains(bias)) continue;
    FileTensor zeros = whole(bias, naming);
    zeros.shape = {parameter.shape[0]};
    tensors.push_back(std::move(zeros));
  }
  return tensors;
}

std::string alias_in_files(const std::string& alias, Naming naming) {
  return name_in_files(alias, naming);
}

bool is_mask_buffer(const std::string& name) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
         name.ends_with(".att.mask");
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
