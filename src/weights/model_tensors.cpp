#include "weights/model_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/parallel.h"

namespace llm {
namespace {

constexpr const char* kAnotherModel = "does the config describe another model?";
constexpr int64_t kPieceElements = 1 << 18;   // on the host at once
constexpr int64_t kLoadedElements = 1 << 22;  // the same where threads share them
constexpr int64_t kThreadElements = 1 << 16;  // that are worth a thread
constexpr size_t kMostProblems = 20;          // that one message lists

// Compares a file with a model and gathers everything that does not fit.
class Matcher {
 public:
  Matcher(const TensorSource& source, const ParameterStore& store, Naming naming,
          OutputLayer output)
      : source_(source), store_(store), naming_(naming) {
    if (output == OutputLayer::new_one) known_.insert(alias_in_files("lm_head.weight", naming));
  }

  // The tensor for each of `wanted`; null for a left-out bias that is not there.
  std::vector<const SourceTensor*> match(const std::vector<FileTensor>& wanted) {
    std::vector<const SourceTensor*> matched;
    matched.reserve(wanted.size());
    for (const FileTensor& tensor : wanted) matched.push_back(match_one(tensor));
    for (const SourceTensor& tensor : source_.tensors()) {
      if (known_.contains(tensor.name) || is_mask_buffer(tensor.name)) continue;
      note(tensor, fmt::format("{} does not belong to this model", shape_text(tensor.shape)));
    }
    refuse_if_any();
    check_values(wanted, matched);
    refuse_if_any();
    return matched;
  }

 private:
  void note(const std::string& problem) {
    if (++count_ <= kMostProblems) problems_.push_back(problem);
  }
  void note(const SourceTensor& tensor, const std::string& what) {
    const std::string place = tensor.where == source_.where() ? "" : " in " + tensor.where;
    note(fmt::format("tensor {}{} {}", quoted_name(tensor.name), place, what));
  }

  void refuse_if_any() const {
    if (problems_.empty()) return;
    std::string text = fmt::format("{}", fmt::join(problems_, "; "));
    if (count_ > 1) text = fmt::format("{} problems: {}", with_commas(count_), text);
    if (count_ > problems_.size()) {
      text += fmt::format("; and {} more", with_commas(count_ - problems_.size()));
    }
    fail_input(source_.where(), text, hint_);
  }

  const SourceTensor* match_one(const FileTensor& wanted) {
    const SourceTensor* tensor = source_.find(wanted.name);
    if (wanted.bare_name != wanted.name) {
      const SourceTensor* bare = source_.find(wanted.bare_name);
      if (tensor != nullptr && bare != nullptr) {
        known_.insert(wanted.bare_name);
        note(fmt::format("it has both {} and {}", quoted_name(wanted.name),
                         quoted_name(wanted.bare_name)));
      }
      if (tensor == nullptr) tensor = bare;
    }
    if (tensor == nullptr) {
      if (wanted.parameter >= 0) {
        note(fmt::format("tensor \"{}\" {} is missing", wanted.name, shape_text(wanted.shape)));
      }
      return nullptr;
    }
    known_.insert(tensor->name);
    if (tensor->shape != wanted.shape) {
      note(*tensor, fmt::format("has shape {}, the model's is {}", shape_text(tensor->shape),
                                shape_text(wanted.shape)));
    } else if (!is_floating(tensor->dtype)) {
      note(*tensor, fmt::format("holds {}, not floating point", dtype_name(tensor->dtype)));
      hint_ = "convert the file to F32, BF16 or F16";
    }
    if (wanted.parameter >= 0 && wanted.row_begin == 0) find_aliases(wanted.parameter, tensor);
    return tensor;
  }

  void find_aliases(int parameter, const SourceTensor* original) {
    for (const std::string& alias : store_.parameters()[static_cast<size_t>(parameter)].aliases) {
      const SourceTensor* tensor = source_.find(alias_in_files(alias, naming_));
      if (tensor == nullptr) continue;
      known_.insert(tensor->name);
      tied_.emplace_back(tensor, original);
    }
  }

  void check_values(const std::vector<FileTensor>& wanted,
                    const std::vector<const SourceTensor*>& matched) {
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i].parameter >= 0 || matched[i] == nullptr) continue;
      std::vector<float> values(static_cast<size_t>(matched[i]->elements()));
      read_block(values, matrix_of(*matched[i], false), 0, matched[i]->shape[0], 0, 1);
      if (std::any_of(values.begin(), values.end(), [](float value) { return value != 0; })) {
        note(*matched[i], "is not zero, but the config says that the model has no such bias");
      }
    }
    for (const auto& [alias, original] : tied_) {
      if (same_values(*alias, *original)) continue;
      note(*alias, fmt::format("differs from {}, but the config says that they are tied",
                               quoted_name(original->name)));
      hint_ = "set \"tie_word_embeddings\": false";
    }
  }

  const TensorSource& source_;
  const ParameterStore& store_;
  Naming naming_;
  std::set<std::string> known_;
  std::vector<std::pair<const SourceTensor*, const SourceTensor*>> tied_;  // alias, original
  std::vector<std::string> problems_;                                      // the first of them
  size_t count_ = 0;                                                       // of all problems
  std::string hint_ = kAnotherModel;
};

int64_t columns_of(const Parameter& parameter) {
  return parameter.shape.size() == 1 ? 1 : parameter.shape[1];
}

// ModelTensors::read by several threads, each of which takes some of the block's rows.
void read_by_threads(const ModelTensors& tensors, std::span<float> into,
                     const ParameterBlock& block, int threads) {
  const int64_t parts =
      std::clamp<int64_t>(block.rows * block.columns / kThreadElements, 1, threads);
  parallel_for(parts, threads, [&](int64_t part) {
    const int64_t begin = block.rows * part / parts, end = block.rows * (part + 1) / parts;
    const auto values = into.subspan(static_cast<size_t>(begin * block.columns),
                                     static_cast<size_t>((end - begin) * block.columns));
    tensors.read(values,
                 {block.index, block.row + begin, end - begin, block.column, block.columns});
  });
}

}  // namespace

bool same_values(const SourceTensor& a, const SourceTensor& b) {
  if (a.dtype != b.dtype || a.shape != b.shape) return false;
  const MatrixView left = matrix_of(a, false), right = matrix_of(b, false);
  const int64_t step = std::max<int64_t>(1, kPieceElements / left.columns);
  std::vector<float> values, others;
  for (int64_t row = 0; row < left.rows; row += step) {
    const int64_t rows = std::min(step, left.rows - row);
    values.resize(static_cast<size_t>(rows * left.columns));
    others.resize(values.size());
    read_block(values, left, row, rows, 0, left.columns);
    read_block(others, right, row, rows, 0, left.columns);
    if (std::memcmp(values.data(), others.data(), values.size() * 4) != 0) return false;
  }
  return true;
}

ModelTensors::ModelTensors(const TensorSource& source, const ParameterStore& store, Naming naming,
                           OutputLayer output)
    : source_(source), parts_(store.parameters().size()) {
  std::vector<FileTensor> wanted = file_tensors(store, naming);
  if (output == OutputLayer::new_one) {
    std::erase_if(wanted, [](const FileTensor& tensor) { return tensor.name == "score.weight"; });
  }
  const std::vector<const SourceTensor*> matched =
      Matcher(source, store, naming, output).match(wanted);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].parameter < 0) continue;
    parts_[static_cast<size_t>(wanted[i].parameter)].push_back(
        {matched[i], matrix_of(*matched[i], wanted[i].transposed), wanted[i].row_begin});
  }
}

void ModelTensors::for_parts(
    const ParameterBlock& block,
    const std::function<void(const Part&, int64_t row, int64_t rows)>& use) const {
  for (const Part& part : parts_[static_cast<size_t>(block.index)]) {
    const int64_t begin = std::max(block.row, part.row_begin);
    const int64_t end = std::min(block.row + block.rows, part.row_begin + part.values.rows);
    if (begin < end) use(part, begin - part.row_begin, end - begin);
  }
}

void ModelTensors::read(std::span<float> into, const ParameterBlock& block) const {
  size_t done = 0;
  for_parts(block, [&](const Part& part, int64_t row, int64_t rows) {
    const auto size = static_cast<size_t>(rows * block.columns);
    read_block(into.subspan(done, size), part.values, row, rows, block.column, block.columns);
    done += size;
  });
  LLM_ASSERT(done == into.size());
}

void ModelTensors::release(int index) const {
  for (const Part& part : parts_[static_cast<size_t>(index)]) {
    source_.release(part.tensor->data);
  }
}

void ModelTensors::release(const ParameterBlock& block) const {
  for_parts(block, [&](const Part& part, int64_t row, int64_t rows) {
    const MatrixView& values = part.values;
    if (values.column_stride != 1 || values.row_stride != values.columns) return;
    const int64_t row_bytes = values.columns * dtype_bytes(values.dtype);
    source_.release(Bytes(values.data + row * row_bytes, static_cast<size_t>(rows * row_bytes)));
  });
}

DType ModelTensors::dtype() const {
  const DType first = parts_.front().front().tensor->dtype;
  for (const std::vector<Part>& parts : parts_) {
    for (const Part& part : parts) {
      if (part.tensor->dtype != first) return DType::f32;
    }
  }
  return first;
}

void copy_to_store(ParameterStore& store, const ModelTensors& tensors) {
  const int threads = thread_count();
  std::vector<float> piece;
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    const Parameter& parameter = store.parameters()[i];
    const int index = static_cast<int>(i);
    if (!tensors.has(index)) continue;
    const int64_t all = parameter.shape[0], columns = columns_of(parameter);
    const int64_t step = std::max<int64_t>(1, kLoadedElements / columns);
    for (int64_t row = 0; row < all; row += step) {
      const int64_t rows = std::min(step, all - row);
      piece.resize(static_cast<size_t>(rows * columns));
      const ParameterBlock block{index, row, rows, 0, columns};
      read_by_threads(tensors, piece, block, threads);
      tensors.release(block);
      store.write(index, store.values(), piece, row * columns);
    }
    tensors.release(index);
  }
}

void stream_tensor(const FileTensor& tensor, const ReadParameter& read, DType dtype,
                   const std::function<void(Bytes)>& write) {
  const int64_t rows = tensor.rows(), columns = tensor.columns();
  // Lines of the file: rows of the parameter, or its columns where the file is transposed.
  const int64_t lines = tensor.transposed ? columns : rows;
  const int64_t width = tensor.transposed ? rows : columns;
  const int64_t step = std::max<int64_t>(1, kPieceElements / width);
  std::vector<float> piece, turned;
  std::vector<std::byte> buffer;
  const auto fill = [&](int64_t begin, int64_t count) {
    piece.assign(static_cast<size_t>(count * width), 0);
    if (tensor.parameter < 0) return;
    if (!tensor.transposed) {
      return read(piece, {tensor.parameter, tensor.row_begin + begin, count, 0, width});
    }
    turned.resize(piece.size());
    read(turned, {tensor.parameter, tensor.row_begin, width, begin, count});
    const auto* data = reinterpret_cast<const std::byte*>(turned.data());
    read_block(piece, {data, DType::f32, count, width, 1, count}, 0, count, 0, width);
  };
  for (int64_t begin = 0; begin < lines; begin += step) {
    fill(begin, std::min(step, lines - begin));
    write(narrow(buffer, piece, dtype, "tensor " + quoted_name(tensor.name)));
  }
}

}  // namespace llm
