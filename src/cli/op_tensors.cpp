#include "cli/op_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/rng.h"

namespace llm {
namespace {

constexpr int64_t kMargin = 256;  // keeps the alignment that allocate() promises
constexpr uint8_t kSentinel = 0xA5;
constexpr uint8_t kPoison = 0xFF;  // NaN in f32, bf16 and f16; -1 in integers

// Larger tensors repeat their first numbers. A prime, so that no two rows are alike.
constexpr int64_t kNumbers = 262'139;

Tensor tensor_of(void* data, DType dtype, const Shape& shape) {
  switch (shape.size()) {
    case 1:
      return Tensor(data, dtype, {shape[0]});
    case 2:
      return Tensor(data, dtype, {shape[0], shape[1]});
    case 3:
      return Tensor(data, dtype, {shape[0], shape[1], shape[2]});
    default:
      LLM_ASSERT(shape.size() == 4);
      return Tensor(data, dtype, {shape[0], shape[1], shape[2], shape[3]});
  }
}

template <typename T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

double read_element(const uint8_t* bytes, DType dtype, int64_t i) {
  const uint8_t* at = bytes + i * dtype_bytes(dtype);
  switch (dtype) {
    case DType::f32:
      return load<float>(at);
    case DType::bf16:
      return bf16_to_f32(load<uint16_t>(at));
    case DType::f16:
      return f16_to_f32(load<uint16_t>(at));
    case DType::i32:
      return load<int32_t>(at);
    case DType::i64:
      return static_cast<double>(load<int64_t>(at));
    case DType::u8:
      return *at;
  }
  return 0;
}

std::vector<uint8_t> encode(DType dtype, std::span<const float> values) {
  LLM_ASSERT(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16);
  std::vector<uint8_t> bytes(values.size() * static_cast<size_t>(dtype_bytes(dtype)));
  if (dtype == DType::f32) {
    if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = dtype == DType::f16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    std::memcpy(bytes.data() + 2 * i, &half, sizeof half);
  }
  return bytes;
}

// Normal numbers to check with. Evenly spread ones, which cost a tenth, to time with.
std::vector<float> random_numbers(const Random& random, int64_t count, double deviation,
                                  double center, bool normal) {
  std::vector<float> values(static_cast<size_t>(count));
  const double width = deviation * std::sqrt(12.0) * 0x1p-32;
  PhiloxBlock block{};
  for (size_t i = 0; i < values.size(); ++i) {
    if (normal) {
      values[i] = static_cast<float>(center + deviation * random.normal(i));
      continue;
    }
    if (i % 4 == 0) block = random.block(i / 4);
    values[i] = static_cast<float>(center + width * (block[i % 4] - 0x1p31));
  }
  return values;
}

}  // namespace

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t dim : shape) count *= dim;
  return count;
}

struct OpTensors::Entry {
  std::string name;
  std::unique_ptr<DeviceMemory> memory;
  Tensor block, tensor;         // with the sentinels, and between them
  bool read = true;             // by the op
  bool written = false;         // by the op
  std::vector<uint8_t> before;  // the block before the call; empty where the op is timed
};

OpTensors::OpTensors(Backend& backend, uint64_t seed, Backend& reference)
    : backend_(&backend), reference_(&reference), seed_(seed), margin_(kMargin) {}
OpTensors::OpTensors(Backend& backend, uint64_t seed) : backend_(&backend), seed_(seed) {}
OpTensors::~OpTensors() = default;
OpTensors::OpTensors(OpTensors&&) noexcept = default;

OpTensors::Entry& OpTensors::allocate(const std::string& name, DType dtype, const Shape& shape) {
  const int64_t size = element_count(shape) * dtype_bytes(dtype), total = size + 2 * margin_;
  Entry& entry = entries_.emplace_back();
  entry.name = name;
  entry.memory = backend_->allocate(std::max<int64_t>(total, 1), name);
  entry.block = Tensor(entry.memory->data(), DType::u8, {total});
  entry.tensor = tensor_of(static_cast<uint8_t*>(entry.memory->data()) + margin_, dtype, shape);
  return entry;
}

Tensor OpTensors::add(const std::string& name, DType dtype, const Shape& shape, const void* bytes) {
  Entry& entry = allocate(name, dtype, shape);
  const auto size = static_cast<size_t>(entry.tensor.bytes());
  entry.before.assign(static_cast<size_t>(entry.block.bytes()), kSentinel);
  uint8_t* at = entry.before.data() + margin_;
  if (bytes == nullptr) std::memset(at, kPoison, size);
  if (bytes != nullptr && size > 0) std::memcpy(at, bytes, size);
  backend_->copy_to_device(entry.block, entry.before.data());
  if (reference_ == nullptr) entry.before = {};
  return entry.tensor;
}

// The first `filled` elements again and again.
void OpTensors::repeat(Tensor tensor, int64_t filled) {
  const Tensor flat = tensor.view({tensor.size()});
  while (filled < flat.size()) {
    const int64_t count = std::min(filled, flat.size() - filled);
    backend_->convert(flat.slice(0, filled, count), flat.slice(0, 0, count));
    filled += count;
  }
}

Tensor OpTensors::random(const std::string& name, DType dtype, const Shape& shape, double deviation,
                         double center) {
  const int64_t count = element_count(shape), made = std::min(count, kNumbers);
  const bool check = reference_ != nullptr;
  const Random random(seed_, stream_id(name));
  std::vector<float> values = random_numbers(random, made, deviation, center, check);
  if (check || made == count) {
    values.resize(static_cast<size_t>(count));
    for (size_t i = static_cast<size_t>(made); i < values.size(); ++i) {
      values[i] = values[i - static_cast<size_t>(made)];
    }
    return input(name, dtype, shape, values);
  }
  const Tensor tensor = allocate(name, dtype, shape).tensor;
  const Tensor first = tensor.view({count}).slice(0, 0, made);
  backend_->copy_to_device(first, encode(dtype, values).data());
  repeat(tensor, made);
  return tensor;
}

Tensor OpTensors::input(const std::string& name, DType dtype, const Shape& shape,
                        std::span<const float> values) {
  LLM_ASSERT(static_cast<int64_t>(values.size()) == element_count(shape), "{}", name);
  const std::vector<uint8_t> bytes = encode(dtype, values);
  return add(name, dtype, shape, bytes.empty() ? &kSentinel : bytes.data());
}

Tensor OpTensors::integers(const std::string& name, const Shape& shape,
                           std::span<const int32_t> values) {
  LLM_ASSERT(static_cast<int64_t>(values.size()) == element_count(shape), "{}", name);
  return add(name, DType::i32, shape, values.data());
}

Tensor OpTensors::integers64(const std::string& name, const Shape& shape,
                             std::span<const int64_t> values) {
  LLM_ASSERT(static_cast<int64_t>(values.size()) == element_count(shape), "{}", name);
  return add(name, DType::i64, shape, values.data());
}

Tensor OpTensors::scalar(const std::string& name, double value) {
  const auto single = static_cast<float>(value);
  return input(name, DType::f32, {1}, std::span(&single, 1));
}

Tensor OpTensors::output(const std::string& name, DType dtype, const Shape& shape) {
  const Tensor tensor = reference_ != nullptr ? add(name, dtype, shape, nullptr)
                                              : allocate(name, dtype, shape).tensor;
  entries_.back().read = false;
  entries_.back().written = true;
  return tensor;
}

Tensor OpTensors::changed(Tensor tensor) {
  for (Entry& entry : entries_) {
    if (tensor && entry.tensor.data == tensor.data) entry.written = true;
  }
  return tensor;
}

std::vector<float> OpTensors::values(const Tensor& tensor) const {
  for (const Entry& entry : entries_) {
    if (entry.tensor.data != tensor.data) continue;
    LLM_ASSERT(!entry.before.empty(), "{}", entry.name);
    std::vector<float> result(static_cast<size_t>(entry.tensor.size()));
    for (size_t i = 0; i < result.size(); ++i) {
      result[i] = static_cast<float>(
          read_element(entry.before.data() + margin_, tensor.dtype, static_cast<int64_t>(i)));
    }
    return result;
  }
  LLM_ASSERT(false, "no tensor of this call");
  return {};
}

int64_t OpTensors::traffic() const {
  if (traffic_ >= 0) return traffic_;
  int64_t bytes = 0;
  for (const Entry& entry : entries_) {
    bytes += entry.tensor.bytes() * (int64_t{entry.read} + int64_t{entry.written});
  }
  return bytes;
}

int64_t OpTensors::bytes() const {
  int64_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.tensor.bytes();
  return bytes;
}

void OpTensors::reset() {
  for (const Entry& entry : entries_) backend_->copy_to_device(entry.block, entry.before.data());
}

OpTensors::Images OpTensors::download() const {
  backend_->synchronize();
  Images images;
  for (const Entry& entry : entries_) {
    images.emplace_back(entry.before.size());
    backend_->copy_to_host(images.back().data(), entry.block);
  }
  return images;
}

std::vector<std::string> OpTensors::damage(const Images& images) const {
  std::vector<std::string> problems;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    const auto margin = static_cast<std::ptrdiff_t>(margin_);
    const auto& now = images[i];
    const auto& before = entry.before;
    if (!std::equal(now.begin(), now.begin() + margin, before.begin())) {
      problems.push_back(entry.name + " was written before its begin");
    }
    if (!std::equal(now.end() - margin, now.end(), before.end() - margin)) {
      problems.push_back(entry.name + " was written behind its end");
    }
    if (!entry.written &&
        !std::equal(now.begin() + margin, now.end() - margin, before.begin() + margin)) {
      problems.push_back(entry.name + ", an input, was changed");
    }
  }
  return problems;
}

std::vector<OpResult> OpTensors::results(const Images& images) const {
  std::vector<OpResult> results;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    if (!entry.written) continue;
    OpResult& result = results.emplace_back();
    result = {entry.name, entry.tensor.dtype, entry.tensor.columns(), {}};
    result.values.resize(static_cast<size_t>(entry.tensor.size()));
    for (size_t at = 0; at < result.values.size(); ++at) {
      result.values[at] =
          read_element(images[i].data() + margin_, entry.tensor.dtype, static_cast<int64_t>(at));
    }
  }
  return results;
}

}  // namespace llm
