// The named tensors of files that are mapped into memory, whatever the format of the files.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "backend/dtype.h"
#include "base/file.h"
#include "weights/values.h"

namespace llm {

struct SourceTensor {
  std::string name;
  std::string where;  // the file that holds it
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements, one for each of `shape`
  Bytes data;                    // from the first element on; all elements lie in it

  int64_t elements() const;
  int64_t bytes() const { return elements() * dtype_bytes(dtype); }
};

// "(768, 2304)".
std::string shape_text(std::span<const int64_t> shape);
// Strides of elements that lie row by row without gap.
std::vector<int64_t> contiguous_strides(std::span<const int64_t> shape);
// A name out of a file for a message: in quotes, escaped and not too long.
std::string quoted_name(const std::string& name);

// A tensor of rank 1 or 2 as a matrix: a vector has one column; `transposed` swaps the two sides.
MatrixView matrix_of(const SourceTensor& tensor, bool transposed);

class TensorSource {
 public:
  // where: what messages call the whole. Throws Error{input} for two tensors of one name.
  TensorSource(std::string where, std::vector<MappedFile> files, std::vector<SourceTensor> tensors);

  const std::string& where() const { return where_; }
  std::span<const SourceTensor> tensors() const { return tensors_; }
  const SourceTensor* find(const std::string& name) const;  // null if there is none
  // What was read of the data of a tensor no longer counts as memory of the process.
  void release(Bytes data) const;

 private:
  std::string where_;
  std::vector<MappedFile> files_;
  std::vector<SourceTensor> tensors_;
  std::map<std::string, size_t> by_name_;
};

}  // namespace llm
