#include "weights/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "base/byte_reader.h"
#include "base/error.h"
#include "weights/pickle.h"
#include "weights/zip_file.h"

namespace llm {
namespace {

using Kind = PickleValue::Kind;

constexpr int64_t kMaxPickleBytes = 16 << 20;
constexpr size_t kMaxTorchRank = 32;
constexpr std::string_view kPickleName = "data.pkl";
// How files began before PyTorch 1.6: a pickle of the number 0x1950a86a20f9469cfc6c.
constexpr std::string_view kOldMagic("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14);
constexpr const char* kHint = "only state dicts of tensors, as torch.save writes them, are read";

struct StorageType {
  std::string_view name;
  std::optional<DType> dtype;
};
constexpr std::array kStorageTypes = {
    StorageType{"torch.FloatStorage", DType::f32}, StorageType{"torch.HalfStorage", DType::f16},
    StorageType{"torch.BFloat16Storage", DType::bf16}, StorageType{"torch.LongStorage", DType::i64},
    StorageType{"torch.IntStorage", DType::i32}, StorageType{"torch.ByteStorage", DType::u8},
    StorageType{"torch.BoolStorage", DType::u8},
    // Tensors of these may lie beside the state dict.
    StorageType{"torch.DoubleStorage", {}}, StorageType{"torch.ShortStorage", {}},
    StorageType{"torch.CharStorage", {}}};
constexpr std::string_view kRebuildTensor = "torch._utils._rebuild_tensor_v2",
                           kRebuildParameter = "torch._utils._rebuild_parameter";
constexpr std::array<std::string_view, 3> kFunctions = {"collections.OrderedDict", kRebuildTensor,
                                                        kRebuildParameter};

std::vector<std::string_view> allowed_globals() {
  std::vector<std::string_view> names(kFunctions.begin(), kFunctions.end());
  for (const StorageType& type : kStorageTypes) names.push_back(type.name);
  return names;
}

// The archive by the names inside of its one folder.
class Archive {
 public:
  Archive(Bytes bytes, std::string where) : where_(std::move(where)) {
    const std::vector<ZipEntry> entries = parse_zip(bytes, where_);
    std::string folder;
    for (const ZipEntry& entry : entries) {
      const size_t slash = entry.name.find('/');
      if (slash == std::string::npos || entry.name.substr(slash + 1) != kPickleName) continue;
      if (!folder.empty()) fail_input(where_, "has two files data.pkl", kHint);
      folder = entry.name.substr(0, slash + 1);
    }
    if (folder.empty()) fail_input(where_, "an archive, but without data.pkl", kHint);
    for (const ZipEntry& entry : entries) {
      if (entry.name.starts_with(folder)) entries_[entry.name.substr(folder.size())] = entry;
    }
  }

  const std::string& where() const { return where_; }
  const ZipEntry* find(const std::string& name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : &found->second;
  }

 private:
  std::string where_;
  std::map<std::string, ZipEntry> entries_;
};

Pickle read_pickle(const Archive& archive) {
  const ZipEntry& entry = *archive.find(std::string(kPickleName));
  if (static_cast<int64_t>(entry.data.size()) > kMaxPickleBytes) {
    fail_input(archive.where(), "data.pkl is larger than " + with_commas(kMaxPickleBytes), kHint);
  }
  verify_crc(entry, archive.where());
  const ZipEntry* order = archive.find("byteorder");
  if (order != nullptr && !std::ranges::equal(order->data, as_bytes("little"))) {
    fail_input(archive.where(), "its numbers are big-endian", "save it on another machine");
  }
  return Pickle(entry.data, archive.where() + ": data.pkl", allowed_globals());
}

// The tensors of the pickle's values.
class TensorReader {
 public:
  TensorReader(const Archive& archive, const Pickle& pickle) : archive_(archive), pickle_(pickle) {}

  // Refuses what is not a tensor. `name` is for messages too.
  SourceTensor read(const std::string& name, const PickleValue& value) {
    name_ = &name;
    const PickleValue* call = &value;
    if (is_call(*call, kRebuildParameter)) {
      const PickleValue& arguments = pickle_.item(*call, 1);
      if (arguments.items.empty()) refuse("a parameter of nothing");
      call = &pickle_.item(arguments, 0);
    }
    if (!is_call(*call, kRebuildTensor)) refuse("is no tensor");
    return read_tensor(pickle_.item(*call, 1));
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    fail_input(archive_.where(), fmt::format("tensor {}: {}", quoted_name(*name_), what), kHint);
  }
  bool is_call(const PickleValue& value, std::string_view callee) const {
    return value.kind == Kind::call && pickle_.item(value, 0).text == callee;
  }
  int64_t integer(const PickleValue& value, const char* what) const {
    if (value.kind != Kind::integer || value.integer < 0) {
      refuse(fmt::format("its {} is no number from 0 on", what));
    }
    return value.integer;
  }
  std::vector<int64_t> integers(const PickleValue& value, const char* what) const {
    if (value.kind != Kind::tuple || value.items.size() > kMaxTorchRank) {
      refuse(fmt::format("its {} is no short tuple", what));
    }
    std::vector<int64_t> numbers;
    for (size_t i = 0; i < value.items.size(); ++i) {
      numbers.push_back(integer(pickle_.item(value, i), what));
    }
    return numbers;
  }

  // (storage, offset, size, stride, requires_grad, hooks[, metadata])
  SourceTensor read_tensor(const PickleValue& arguments) const {
    if (arguments.items.size() < 6 || arguments.items.size() > 7) refuse("wrong arguments");
    SourceTensor tensor;
    tensor.name = *name_;
    tensor.where = archive_.where();
    const PickleValue& storage = pickle_.item(arguments, 0);
    if (storage.kind != Kind::persistent) refuse("has no storage");
    const int64_t numbers = read_storage(pickle_.item(storage, 0), tensor);
    const int64_t offset = integer(pickle_.item(arguments, 1), "offset");
    tensor.shape = integers(pickle_.item(arguments, 2), "shape");
    tensor.strides = integers(pickle_.item(arguments, 3), "stride");
    check_extent(tensor, offset, numbers);
    tensor.data = tensor.data.subspan(static_cast<size_t>(offset * dtype_bytes(tensor.dtype)));
    return tensor;
  }

  // ("storage", type, key, device, number of elements): sets type and data, returns the number.
  int64_t read_storage(const PickleValue& id, SourceTensor& tensor) const {
    if (id.kind != Kind::tuple || id.items.size() != 5) refuse("its storage has a wrong id");
    const PickleValue& kind = pickle_.item(id, 0);
    const PickleValue& key = pickle_.item(id, 2);
    if (kind.text != "storage" || key.kind != Kind::text) refuse("its storage has a wrong id");
    const PickleValue& type_name = pickle_.item(id, 1);
    const auto* type = std::ranges::find(kStorageTypes, type_name.text, &StorageType::name);
    if (type_name.kind != Kind::global || type == kStorageTypes.end()) {
      refuse("its storage has a wrong type");
    }
    if (!type->dtype) refuse(fmt::format("{} is not supported", type->name));
    tensor.dtype = *type->dtype;
    const int64_t numbers = integer(pickle_.item(id, 4), "number of elements");
    const ZipEntry* entry = archive_.find("data/" + key.text);
    if (entry == nullptr) refuse(fmt::format("its storage {} is missing", quoted_name(key.text)));
    const auto bytes = checked_multiply(numbers, dtype_bytes(tensor.dtype));
    if (!bytes || *bytes != static_cast<int64_t>(entry->data.size())) {
      refuse(fmt::format("its storage {} has {} bytes, not {} {}", quoted_name(key.text),
                         with_commas(static_cast<int64_t>(entry->data.size())),
                         with_commas(numbers), dtype_name(tensor.dtype)));
    }
    tensor.data = entry->data;
    return numbers;
  }

  // The last element lies in the storage, and no two are the same, as far as sizes can tell.
  void check_extent(const SourceTensor& tensor, int64_t offset, int64_t numbers) const {
    if (tensor.shape.size() != tensor.strides.size()) refuse("its shape and stride differ in rank");
    int64_t elements = 1, last = offset;
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      const auto product = checked_multiply(elements, tensor.shape[i]);
      const auto reach =
          checked_multiply(std::max<int64_t>(tensor.shape[i], 1) - 1, tensor.strides[i]);
      const auto sum = reach ? checked_add(last, *reach) : std::nullopt;
      if (!product || !sum) {
        refuse(fmt::format("shape {} is too large", shape_text(tensor.shape)));
      }
      elements = *product;
      last = *sum;
    }
    if (elements > numbers || offset > numbers || (elements > 0 && last >= numbers)) {
      refuse(fmt::format("shape {} reaches beyond its storage of {}", shape_text(tensor.shape),
                         with_commas(numbers)));
    }
  }

  const Archive& archive_;
  const Pickle& pickle_;
  const std::string* name_ = nullptr;
};

const PickleValue& state_dict_of(const Pickle& pickle, const std::string& where) {
  const PickleValue& root = pickle.root();
  if (root.kind != Kind::dict) fail_input(where, "holds no state dict", kHint);
  for (const char* key : {"model_state_dict", "state_dict"}) {
    const PickleValue* inner = pickle.find(root, key);
    if (inner != nullptr && inner->kind == Kind::dict) return *inner;
  }
  return root;
}

void strip_prefix(std::vector<SourceTensor>& tensors, std::string_view prefix) {
  const auto has_it = [&](const SourceTensor& tensor) { return tensor.name.starts_with(prefix); };
  if (!std::ranges::all_of(tensors, has_it)) return;
  for (SourceTensor& tensor : tensors) tensor.name.erase(0, prefix.size());
}

std::vector<SourceTensor> tensors_of(const Archive& archive) {
  const Pickle pickle = read_pickle(archive);
  const PickleValue& dict = state_dict_of(pickle, archive.where());
  TensorReader reader(archive, pickle);
  std::vector<SourceTensor> tensors;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& key = pickle.item(dict, i);
    if (key.kind != Kind::text) fail_input(archive.where(), "a tensor's name is no text", kHint);
    tensors.push_back(reader.read(key.text, pickle.item(dict, i + 1)));
  }
  strip_prefix(tensors, "_orig_mod.");
  strip_prefix(tensors, "module.");
  return tensors;
}

bool is_old_file(Bytes bytes) {
  return std::ranges::equal(bytes.first(std::min(bytes.size(), kOldMagic.size())),
                            as_bytes(kOldMagic));
}

Archive open_archive(Bytes bytes, const std::string& where) {
  if (is_old_file(bytes)) {
    fail_input(where, "saved in the form of PyTorch before 1.6",
               "load it and save it again with a newer PyTorch");
  }
  return Archive(bytes, where);
}

}  // namespace

bool is_torch_file(Bytes bytes) { return is_zip(bytes) || is_old_file(bytes); }

std::vector<SourceTensor> parse_torch_file(Bytes bytes, const std::string& where) {
  return tensors_of(open_archive(bytes, where));
}

TensorSource open_torch_file(const fs::path& path) {
  const std::string where = path.string();
  std::vector<MappedFile> files;
  const Bytes bytes = files.emplace_back(path).bytes();
  return with_hint("damaged: copy or download the file again", [&] {
    const Archive archive = open_archive(bytes, where);
    std::vector<SourceTensor> tensors = tensors_of(archive);
    for (const ZipEntry& entry : parse_zip(bytes, where)) {
      verify_crc(entry, where);
      files.front().release(entry.data);
    }
    return TensorSource(where, std::move(files), std::move(tensors));
  });
}

}  // namespace llm
