#include "weights/book_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "weights/torch_file.h"

namespace llm {
namespace {

constexpr int kTokenTable = 0, kMask = 1;  // data that several tensors share

// Ones above the diagonal: what a position must not see.
void stream_mask(int64_t context, const std::function<void(Bytes)>& write) {
  std::vector<float> row(static_cast<size_t>(context), 1.0f);
  for (int64_t i = 0; i < context; ++i) {
    row[static_cast<size_t>(i)] = 0;
    write(std::as_bytes(std::span(row)));
  }
}

}  // namespace

void write_book_file(const fs::path& path, const ModelConfig& config, const ParameterStore& store,
                     const ReadParameter& read, DType dtype) {
  std::vector<TorchTensor> tensors;
  for (const FileTensor& tensor : file_tensors(store, Naming::book)) {
    TorchTensor written{tensor.name, tensor.shape, dtype, -1, {}};
    written.stream = [tensor, &read, dtype](const std::function<void(Bytes)>& write) {
      stream_tensor(tensor, read, dtype, write);
    };
    if (tensor.name == "tok_emb.weight") written.data_of = kTokenTable;
    tensors.push_back(std::move(written));
  }
  if (config.tied) {
    tensors.push_back(
        {"out_head.weight", {config.vocab_size, config.channels}, dtype, kTokenTable});
  }
  const auto mask = [context = config.context](const std::function<void(Bytes)>& write) {
    stream_mask(context, write);
  };
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    tensors.push_back({fmt::format("trf_blocks.{}.att.mask", layer),
                       {config.context, config.context},
                       DType::f32,
                       kMask,
                       mask});
  }
  write_torch_file(path, tensors);
}

}  // namespace llm
