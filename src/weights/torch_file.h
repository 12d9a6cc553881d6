// Files of torch.save with a state dict in them (.pth, .pt, pytorch_model.bin): a ZIP archive with
// a pickle that names and shapes the tensors, and their data, one entry for each storage.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "weights/tensor_source.h"

namespace llm {

// Whether the bytes begin like a file of torch.save, of this form or of the one before PyTorch 1.6
// (which parse_torch_file() refuses).
bool is_torch_file(Bytes bytes);

// The tensors of the state dict, which is all of the file or lies in it as "model_state_dict" or
// "state_dict". What lies beside it (the state of an optimizer) is not looked at. The pickle is
// data to this reader: no code in it is run. Throws Error{input} with `where` for a damaged
// archive, for a pickle that asks for anything but tensors, for tensors that reach beyond their
// storage or whose elements overlap, and for types other than those of DType. Names lose the
// prefixes that torch.compile and DistributedDataParallel put before all of them.
std::vector<SourceTensor> parse_torch_file(Bytes bytes, const std::string& where);

// The same of a file; the checksums of all storages are compared as well.
TensorSource open_torch_file(const fs::path& path);

// A tensor of a file to be written, in contiguous order. Tensors with the same `data_of` (at least
// 0) share one storage, that of the first of them.
struct TorchTensor {
  std::string name;
  std::vector<int64_t> shape;
  DType dtype = DType::f32;
  int data_of = -1;
  // Passes on the bytes of the data, in order and in pieces.
  std::function<void(const std::function<void(Bytes)>&)> stream = {};
};

// A state dict as torch.load(FILE, weights_only=True) reads it. The bytes depend on the tensors
// only.
void write_torch_file(const fs::path& path, const std::vector<TorchTensor>& tensors);

}  // namespace llm
