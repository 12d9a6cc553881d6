#include <algorithm>

#include "base/error.h"
#include "train/objective.h"

namespace llm {

BatchBuffers::BatchBuffers(Backend& backend, const BatchShape& shape)
    : backend_(backend), shape_(shape) {
  const int64_t rows = shape.batch, tokens = rows * shape.length;
  const bool packed = shape.packed_sequences > 0;
  memory_ =
      backend.allocate(rows * (8 + (shape.labels ? 16 : 0)) +
                           4 * (2 * tokens + (packed ? tokens + shape.packed_sequences + 1 : 0)),
                       "batch");
  auto* next = static_cast<std::byte*>(memory_->data());
  const auto take = [&](DType dtype, std::initializer_list<int64_t> sizes) {
    const Tensor tensor(next, dtype, sizes);
    next += tensor.bytes();
    return tensor;
  };
  whole_.input.sample_ids = take(DType::i64, {rows});
  whole_.input.tokens = take(DType::i32, {rows, shape.length});
  whole_.targets = take(DType::i32, {tokens});
  if (packed) {
    whole_.input.positions = take(DType::i32, {1, tokens});
    whole_.input.sequence_offsets = take(DType::i32, {shape.packed_sequences + 1});
    whole_.input.tokens = whole_.input.tokens.view({1, tokens});
    whole_.input.sample_ids = whole_.input.sample_ids.slice(0, 0, 1);
  }
  if (shape.labels) {
    whole_.labels = take(DType::i32, {rows});
    whole_.input.pool_begin = take(DType::i32, {rows});
    whole_.input.pool_end = take(DType::i32, {rows});
    whole_.row_weights = take(DType::f32, {rows});
  }
  device_ = whole_;
}

float BatchBuffers::weight_of(int32_t label) const {
  if (label < 0) return 0;
  return shape_.class_weights.empty() ? 1 : shape_.class_weights[static_cast<size_t>(label)];
}

const DeviceBatch& BatchBuffers::upload(const Batch& batch) {
  const bool packed = shape_.packed_sequences > 0;
  LLM_ASSERT(batch.batch == shape_.batch && batch.length <= shape_.length);
  LLM_ASSERT(packed == !batch.sequence_offsets.empty() && shape_.labels == !batch.labels.empty());
  device_ = whole_;
  const int64_t tokens = batch.batch * batch.length;
  const auto first = [&](Tensor whole, int64_t rows) {
    return whole.view({whole.size()}).slice(0, 0, tokens).view({rows, tokens / rows});
  };
  device_.input.tokens = first(whole_.input.tokens, packed ? 1 : batch.batch);
  backend_.copy_to_device(device_.input.tokens, batch.tokens.data());
  backend_.copy_to_device(device_.input.sample_ids, batch.sample_ids.data());
  if (!batch.targets.empty()) {
    device_.targets = whole_.targets.slice(0, 0, tokens);
    backend_.copy_to_device(device_.targets, batch.targets.data());
  }
  if (packed) {
    device_.input.positions = first(whole_.input.positions, 1);
    upload_packing(batch);
  }
  if (shape_.labels) upload_labels(batch);
  return device_;
}

void BatchBuffers::upload_packing(const Batch& batch) {
  backend_.copy_to_device(device_.input.positions, batch.positions.data());
  std::vector<int32_t> offsets = batch.sequence_offsets;
  LLM_ASSERT(std::ssize(offsets) <= shape_.packed_sequences + 1);
  offsets.resize(static_cast<size_t>(shape_.packed_sequences) + 1, offsets.back());
  backend_.copy_to_device(device_.input.sequence_offsets, offsets.data());
}

void BatchBuffers::upload_labels(const Batch& batch) {
  std::vector<int32_t> begin, end;
  std::vector<float> weights;
  for (int64_t b = 0; b < batch.batch; ++b) {
    const auto row = static_cast<size_t>(b);
    const int32_t length = batch.lengths[row];
    end.push_back(shape_.pooling == Pooling::last ? static_cast<int32_t>(batch.length) : length);
    begin.push_back(shape_.pooling == Pooling::mean ? 0 : end.back() - 1);
    weights.push_back(weight_of(batch.labels[row]));
  }
  backend_.copy_to_device(device_.labels, batch.labels.data());
  backend_.copy_to_device(device_.input.pool_begin, begin.data());
  backend_.copy_to_device(device_.input.pool_end, end.data());
  backend_.copy_to_device(device_.row_weights, weights.data());
}

}  // namespace llm
