// The header of a safetensors file, read event by event: the format has a fixed shape, so no tree
// of JSON values is built and a hostile header costs no more memory than its own size suggests.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <set>

#include "base/byte_reader.h"
#include "base/error.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

constexpr int64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxRank = 32;

struct NamedType {
  std::string_view name;
  DType dtype;
};
constexpr std::array kTypes = {NamedType{"F32", DType::f32}, NamedType{"BF16", DType::bf16},
                               NamedType{"F16", DType::f16}, NamedType{"I32", DType::i32},
                               NamedType{"I64", DType::i64}, NamedType{"U8", DType::u8},
                               NamedType{"BOOL", DType::u8}};

// Receives the events of nlohmann's parser. Levels: 1 the header, 2 a tensor or the metadata,
// 3 a list of numbers in a tensor.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderReader(SafetensorsHeader& header, const std::string& where)
      : header_(header), where_(where) {}

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override {
    if (list_ != nullptr) refuse(fmt::format("{} is negative: {}", field_, value));
    unexpected("a number");
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (list_ == nullptr) unexpected("a number");
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      refuse(fmt::format("{} is too large: {}", field_, value));
    }
    if (list_->size() == (list_ == &offsets_ ? 2 : kMaxRank)) {
      refuse(fmt::format("{} has too many numbers", field_));
    }
    list_->push_back(static_cast<int64_t>(value));
    return true;
  }
  bool number_float(number_float_t, const string_t& text) override {
    if (list_ != nullptr) {
      refuse(fmt::format("{} has {}, not a whole number in range", field_, text.substr(0, 40)));
    }
    unexpected("a number");
  }
  bool string(string_t& text) override {
    if (level_ == 2 && in_metadata_) {
      header_.metadata[field_] = text;
    } else if (level_ == 2 && field_ == "dtype") {
      set_type(text);
    } else {
      unexpected("text");
    }
    return true;
  }
  bool binary(binary_t&) override { unexpected("binary data"); }

  bool start_object(size_t) override {
    if (level_ >= 2) unexpected("an object");
    if (++level_ == 2) begin_entry();
    return true;
  }
  bool key(string_t& name) override {
    if (level_ == 1) {
      const bool first = name == "__metadata__" ? !std::exchange(saw_metadata_, true)
                                                : header_.by_name.emplace(name, 0).second;
      if (!first) refuse_header(fmt::format("{} appears twice", quoted_name(name)));
      tensor_.name = name;
      return true;
    }
    field_ = name;
    if (!in_metadata_ && name != "dtype" && name != "shape" && name != "data_offsets") {
      refuse(fmt::format("unknown key {}", quoted_name(name)));
    }
    const bool first =
        in_metadata_ ? header_.metadata.emplace(name, "").second : fields_.insert(name).second;
    if (!first) refuse(fmt::format("key {} appears twice", quoted_name(name)));
    return true;
  }
  bool end_object() override {
    if (level_-- == 2 && !in_metadata_) end_tensor();
    return true;
  }
  bool start_array(size_t) override {
    if (level_ != 2 || in_metadata_ || field_ == "dtype") unexpected("a list");
    ++level_;
    list_ = field_ == "shape" ? &tensor_.shape : &offsets_;
    return true;
  }
  bool end_array() override {
    --level_;
    list_ = nullptr;
    return true;
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::json::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ..."
    std::string text = error.what();
    const size_t colon = text.find(": ");
    if (colon != std::string::npos) text = text.substr(colon + 2);
    refuse_header(fmt::format("not valid JSON at byte {}: {}", position + 7, text.substr(0, 200)));
  }

 private:
  void begin_entry() {
    in_metadata_ = tensor_.name == "__metadata__";
    tensor_.shape.clear();
    offsets_.clear();
    fields_.clear();
    field_.clear();
  }
  void set_type(const std::string& text) {
    const auto* type = std::find_if(kTypes.begin(), kTypes.end(),
                                    [&](const NamedType& known) { return known.name == text; });
    if (type == kTypes.end()) {
      refuse(fmt::format("dtype {} is not supported", quoted_name(text)),
             "convert the file to F32, BF16 or F16");
    }
    tensor_.dtype = type->dtype;
  }
  void end_tensor() {
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      if (!fields_.contains(field)) refuse(fmt::format("key \"{}\" is missing", field));
    }
    if (offsets_.size() != 2) refuse("data_offsets must be two numbers");
    tensor_.begin = offsets_[0];
    tensor_.end = offsets_[1];
    std::optional<int64_t> bytes = dtype_bytes(tensor_.dtype);
    for (int64_t size : tensor_.shape) {
      bytes = checked_multiply(*bytes, size);
      if (!bytes) refuse(fmt::format("shape {} is too large", shape_text(tensor_.shape)));
    }
    if (tensor_.end < tensor_.begin) {
      refuse(fmt::format("data_offsets end at {}, before they begin at {}", tensor_.end,
                         tensor_.begin));
    }
    if (tensor_.end - tensor_.begin != *bytes) {
      refuse(fmt::format("shape {} of {} needs {} bytes, data_offsets give {}",
                         shape_text(tensor_.shape), dtype_name(tensor_.dtype), with_commas(*bytes),
                         with_commas(tensor_.end - tensor_.begin)));
    }
    header_.tensors.push_back(tensor_);
  }

  [[noreturn]] void refuse_header(const std::string& what) const {
    fail_input(where_, "header: " + what);
  }
  [[noreturn]] void refuse(const std::string& what, std::string hint = {}) const {
    fail_input(where_,
               in_metadata_ ? "__metadata__: " + what
                            : fmt::format("tensor {}: {}", quoted_name(tensor_.name), what),
               std::move(hint));
  }
  [[noreturn]] void unexpected(std::string_view what) const {
    if (level_ == 0) refuse_header(fmt::format("{} where an object belongs", what));
    if (level_ == 1) refuse(fmt::format("is {}, not an object", what));
    refuse(fmt::format("{} has {} in a wrong place", quoted_name(field_), what));
  }

  SafetensorsHeader& header_;
  const std::string& where_;
  int level_ = 0;
  bool in_metadata_ = false, saw_metadata_ = false;
  TensorInfo tensor_;                     // the entry being read
  std::vector<int64_t> offsets_;          // its data_offsets
  std::vector<int64_t>* list_ = nullptr;  // the list being read
  std::set<std::string> fields_;
  std::string field_;
};

// Sorts by place and checks that the tensors tile the data section exactly.
void check_layout(SafetensorsHeader& header, int64_t data_bytes, const std::string& where) {
  auto& tensors = header.tensors;
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  int64_t reached = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = tensors[i];
    header.by_name[tensor.name] = i;
    if (tensor.begin != reached) {
      fail_input(where,
                 fmt::format("tensor {}: begins at byte {} of the data, but {}",
                             quoted_name(tensor.name), with_commas(tensor.begin),
                             tensor.begin > reached
                                 ? fmt::format("there is a hole from {}", with_commas(reached))
                                 : fmt::format("overlaps the tensor before, which ends at {}",
                                               with_commas(reached))));
    }
    if (tensor.end > data_bytes) {
      fail_input(
          where,
          fmt::format("tensor {}: ends at byte {} of the data, which has {} bytes",
                      quoted_name(tensor.name), with_commas(tensor.end), with_commas(data_bytes)),
          "truncated?");
    }
    reached = tensor.end;
  }
  if (reached != data_bytes) {
    fail_input(where, fmt::format("{} bytes after the last tensor belong to none",
                                  with_commas(data_bytes - reached)));
  }
}

}  // namespace

int64_t TensorInfo::elements() const { return (end - begin) / dtype_bytes(dtype); }

SafetensorsHeader parse_safetensors(Bytes bytes, const std::string& where) {
  ByteReader reader(bytes, where);
  const auto length = reader.read<uint64_t>("header length");
  if (length > static_cast<uint64_t>(kMaxHeaderBytes)) {
    fail_input(where,
               fmt::format("header length {} is above {}", length, with_commas(kMaxHeaderBytes)),
               "not a safetensors file?");
  }
  const std::string_view text = reader.take_text(static_cast<int64_t>(length), "header");
  if (!text.starts_with('{')) fail_input(where, "header does not start with '{'");

  SafetensorsHeader header;
  header.data_begin = reader.offset();
  HeaderReader events(header, where);
  nlohmann::json::sax_parse(text, &events);
  check_layout(header, reader.remaining(), where);
  return header;
}

}  // namespace llm
