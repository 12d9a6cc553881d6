#include <array>
#include <map>
#include <numeric>

#include "base/error.h"
#include "weights/torch_file.h"
#include "weights/zip_file.h"

namespace llm {
namespace {

const char* storage_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "FloatStorage";
    case DType::bf16:
      return "BFloat16Storage";
    case DType::f16:
      return "HalfStorage";
    case DType::i32:
      return "IntStorage";
    case DType::i64:
      return "LongStorage";
    case DType::u8:
      return "ByteStorage";
  }
  return "";
}

int64_t elements_of(const TorchTensor& tensor) {
  return std::accumulate(tensor.shape.begin(), tensor.shape.end(), int64_t{1}, std::multiplies<>());
}

// Writes the opcodes of protocol 2 that make a dict of tensors, in the order in which Python's
// machine takes them from its stack. Nothing goes through the memo: names are short.
class PickleText {
 public:
  void begin() { text_ += "\x80\x02}("; }  // protocol 2; an empty dict; a mark before its items
  void add(const TorchTensor& tensor, const std::string& storage) {
    put_text(tensor.name);
    put_global("torch._utils", "_rebuild_tensor_v2");
    text_ += "((";  // its arguments, and of those first the storage's id
    put_text("storage");
    put_global("torch", storage_type(tensor.dtype));
    put_text(storage);
    put_text("cpu");
    put_integer(elements_of(tensor));
    text_ += "tQ";
    put_integer(0);
    put_tuple(tensor.shape);
    put_tuple(contiguous_strides(tensor.shape));
    text_ += '\x89';  // needs no gradient
    put_global("collections", "OrderedDict");
    text_ += ")RtR";  // no hooks; the tuple of arguments; the call
  }
  std::string end() { return text_ + "u."; }

 private:
  void put_number(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) text_ += static_cast<char>(value >> (8 * i));
  }
  void put_text(const std::string& text) {
    text_ += 'X';
    put_number(text.size(), 4);
    text_ += text;
  }
  void put_global(const char* module, const char* name) {
    text_ += std::string("c") + module + "\n" + name + "\n";
  }
  void put_integer(int64_t value) {
    if (value <= INT32_MAX) {
      text_ += 'J';
      put_number(static_cast<uint64_t>(value), 4);
    } else {
      text_ += "\x8a\x08";
      put_number(static_cast<uint64_t>(value), 8);
    }
  }
  void put_tuple(const std::vector<int64_t>& values) {
    text_ += '(';
    for (const int64_t value : values) put_integer(value);
    text_ += 't';
  }

  std::string text_;
};

}  // namespace

void write_torch_file(const fs::path& path, const std::vector<TorchTensor>& tensors) {
  std::vector<const TorchTensor*> storages;
  std::map<int, size_t> shared;  // data_of -> place in storages
  PickleText pickle;
  pickle.begin();
  for (const TorchTensor& tensor : tensors) {
    size_t place = storages.size();
    if (tensor.data_of >= 0) place = shared.emplace(tensor.data_of, place).first->second;
    if (place == storages.size()) storages.push_back(&tensor);
    LLM_ASSERT(storages[place]->dtype == tensor.dtype &&
               elements_of(*storages[place]) == elements_of(tensor));
    pickle.add(tensor, std::to_string(place));
  }
  ZipWriter zip(path);
  const std::string folder = "model/";
  zip.add(folder + "data.pkl", pickle.end());
  zip.add(folder + "byteorder", "little");
  for (size_t i = 0; i < storages.size(); ++i) {
    const TorchTensor& tensor = *storages[i];
    zip.begin(folder + "data/" + std::to_string(i),
              elements_of(tensor) * dtype_bytes(tensor.dtype));
    tensor.stream([&](Bytes bytes) { zip.write(bytes); });
    zip.end();
  }
  zip.add(folder + "version", "3\n");
  zip.finish();
}

}  // namespace llm
