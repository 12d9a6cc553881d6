// The tensors of a file as the parameters of a model: found by name, checked, and read a block at a
// time in the layout of memory.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "model/parameter_store.h"
#include "weights/tensor_map.h"
#include "weights/tensor_source.h"

namespace llm {

// Something that gives values of parameters: rows [row, row + rows) and columns [column, column +
// columns) of parameter `index`, row by row, as float32. Vectors have one column.
struct ParameterBlock {
  int index;
  int64_t row, rows, column, columns;
};
using ReadParameter = std::function<void(std::span<float> into, const ParameterBlock& block)>;

// The output layer of a model that is read.
enum class OutputLayer {
  in_file,
  // The file is of a language model, and the model a classifier, whose output layer stays as it is.
  new_one,
};

class ModelTensors {
 public:
  // Compares all names, shapes and types with the parameters, and the values of biases that the
  // model does not have (they must be zero) and of tied tensors that are there twice (equal).
  // Adapters are no part of it. Throws Error{input} that names every tensor which is missing,
  // misshapen or does not belong. Both must outlive this.
  ModelTensors(const TensorSource& source, const ParameterStore& store, Naming naming,
               OutputLayer output = OutputLayer::in_file);

  // Whether the file has the parameter.
  bool has(int index) const { return !parts_[static_cast<size_t>(index)].empty(); }
  void read(std::span<float> into, const ParameterBlock& block) const;
  // What was read of the parameter no longer counts as memory of the process: all of it, or of a
  // block as far as its rows lie together in the file.
  void release(int index) const;
  void release(const ParameterBlock& block) const;
  // The type of all tensors that hold parameters, or f32 where they differ.
  DType dtype() const;

 private:
  struct Part {
    const SourceTensor* tensor;
    MatrixView values;
    int64_t row_begin;
  };
  // Calls use(part, row, rows) for the rows of each part, counted from its own begin, in a block.
  void for_parts(const ParameterBlock& block,
                 const std::function<void(const Part&, int64_t row, int64_t rows)>& use) const;

  const TensorSource& source_;
  std::vector<std::vector<Part>> parts_;  // of each parameter, by rows
};

// Whether two tensors of equal shape and floating types have the same type and the same bits.
bool same_values(const SourceTensor& a, const SourceTensor& b);

// Copies all that there are to the values of the store, a piece at a time.
void copy_to_store(ParameterStore& store, const ModelTensors& tensors);

// Passes on the bytes of a tensor of a file to be written, in order and in pieces. `tensor` without
// a parameter is zeros. Throws Error{input} where a value does not fit the type.
void stream_tensor(const FileTensor& tensor, const ReadParameter& read, DType dtype,
                   const std::function<void(Bytes)>& write);

}  // namespace llm
