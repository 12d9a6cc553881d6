#include "weights/tensor_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "base/error.h"
#include "base/json.h"

namespace llm {

int64_t SourceTensor::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::string shape_text(std::span<const int64_t> shape) {
  return fmt::format("({})", fmt::join(shape, ", "));
}

std::vector<int64_t> contiguous_strides(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  // Without elements no stride matters, and the products might overflow.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return strides;
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

std::string quoted_name(const std::string& name) {
  constexpr size_t kLongest = 80;
  const std::string shown = name.size() <= kLongest ? name : name.substr(0, kLongest) + "...";
  return Json(shown).dump(-1, ' ', false, Json::error_handler_t::replace);
}

MatrixView matrix_of(const SourceTensor& tensor, bool transposed) {
  LLM_ASSERT(tensor.shape.size() == 1 || tensor.shape.size() == 2, "{}", tensor.name);
  MatrixView view{tensor.data.data(), tensor.dtype, tensor.shape[0], 1, tensor.strides[0], 1};
  if (tensor.shape.size() == 2) {
    view.columns = tensor.shape[1];
    view.column_stride = tensor.strides[1];
  }
  if (transposed) {
    std::swap(view.rows, view.columns);
    std::swap(view.row_stride, view.column_stride);
  }
  return view;
}

TensorSource::TensorSource(std::string where, std::vector<MappedFile> files,
                           std::vector<SourceTensor> tensors)
    : where_(std::move(where)), files_(std::move(files)), tensors_(std::move(tensors)) {
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (!by_name_.emplace(tensors_[i].name, i).second) {
      fail_input(where_, fmt::format("tensor {} appears twice", quoted_name(tensors_[i].name)));
    }
  }
}

const SourceTensor* TensorSource::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

void TensorSource::release(Bytes data) const {
  if (!files_.empty()) files_.front().release(data);
}

}  // namespace llm
