#include "support/op_check.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/rng.h"
#include "cpu_ref/cpu_backend.h"
#ifdef LLM_HAVE_CUDA
#include "cuda/cuda_backend.h"
#endif

namespace llm::test {
namespace {

constexpr int64_t kSentinelBytes = 64;
constexpr uint8_t kSentinel = 0xA5;
constexpr uint8_t kPoison = 0xFF;  // NaN in f32, bf16 and f16; -1 in integers

int64_t byte_count(DType dtype, const Shape& shape) {
  return element_count(shape) * dtype_bytes(dtype);
}

double read_element(const std::vector<uint8_t>& bytes, DType dtype, int64_t i) {
  const uint8_t* at = bytes.data() + i * dtype_bytes(dtype);
  const auto as = [&]<typename T>(T value) {
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  switch (dtype) {
    case DType::f32:
      return as(float{});
    case DType::bf16:
      return bf16_to_f32(as(uint16_t{}));
    case DType::f16:
      return f16_to_f32(as(uint16_t{}));
    case DType::i32:
      return as(int32_t{});
    case DType::i64:
      return static_cast<double>(as(int64_t{}));
    case DType::u8:
      return *at;
  }
  return 0;
}

void write_element(std::vector<uint8_t>& bytes, DType dtype, int64_t i, double value) {
  uint8_t* at = bytes.data() + i * dtype_bytes(dtype);
  const auto single = static_cast<float>(value);
  const uint16_t half = dtype == DType::f16 ? f32_to_f16(single) : f32_to_bf16(single);
  LLM_ASSERT(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16);
  if (dtype == DType::f32) {
    std::memcpy(at, &single, sizeof single);
  } else {
    std::memcpy(at, &half, sizeof half);
  }
}

}  // namespace

std::unique_ptr<Backend> make_gpu_backend([[maybe_unused]] int device) {
#ifdef LLM_HAVE_CUDA
  std::string reason;
  CudaOptions options;
  options.device = device;
  if (cuda_device_count(reason) > device) return make_cuda_backend(options);
#endif
  return nullptr;
}

std::unique_ptr<Comm> make_gpu_comm([[maybe_unused]] Backend& gpu) {
#ifdef LLM_HAVE_CUDA
  std::string reason;
  if (nccl_available(reason)) return make_nccl_comm(gpu, 60);
#endif
  return nullptr;
}

Bounds gpu_bounds(const Bounds& cpu) {
  constexpr double kFactor = 3;
  constexpr double kLeastAbsolute = 2e-6;  // sums of numbers of size 1 in another order
  return {kFactor * cpu.normalized_error, kFactor * cpu.worst_row,
          std::max(kLeastAbsolute, kFactor * cpu.absolute), kFactor * cpu.relative};
}

const std::vector<BackendUnderTest>& backends_under_test() {
  static const auto* const backends = [] {
    auto* list = new std::vector<BackendUnderTest>;
    for (int threads : {1, 2}) {
      list->push_back({fmt::format("cpu/{}", threads),
                       make_cpu_backend({.threads = threads, .plain = false}), threads == 1});
    }
    if (auto gpu = make_gpu_backend()) list->push_back({kGpuLabel, std::move(gpu), false});
    return list;
  }();
  return *backends;
}

Backend& plain_backend() {
  static Backend* const backend = make_cpu_backend({.threads = 2, .plain = true}).release();
  return *backend;
}

std::vector<std::pair<std::string, Backend*>> all_backends() {
  std::vector<std::pair<std::string, Backend*>> all{{"plain", &plain_backend()}};
  for (const BackendUnderTest& tested : backends_under_test()) {
    all.emplace_back(tested.name, tested.backend.get());
  }
  return all;
}

const Result& result_named(const Results& results, const std::string& name) {
  for (const Result& result : results) {
    if (result.name == name) return result;
  }
  LLM_ASSERT(false, "no result {}", name);
  return results.front();
}

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (int64_t dim : shape) count *= dim;
  return count;
}

Tensor tensor_of(void* data, DType dtype, const Shape& shape) {
  Tensor tensor(data, dtype, {element_count(shape)});
  switch (shape.size()) {
    case 1:
      return tensor;
    case 2:
      return tensor.view({shape[0], shape[1]});
    case 3:
      return tensor.view({shape[0], shape[1], shape[2]});
    default:
      LLM_ASSERT(shape.size() == 4);
      return tensor.view({shape[0], shape[1], shape[2], shape[3]});
  }
}

std::vector<double> random_values(const std::string& seed, const std::string& name, int64_t count,
                                  double deviation, double center) {
  // Each call of an op is repeated many times with equal inputs: they are kept for one seed.
  static std::string kept_seed;
  static std::map<std::string, std::vector<double>> kept;
  if (seed != kept_seed) kept.clear(), kept_seed = seed;
  std::vector<double>& values = kept[fmt::format("{} {} {} {}", name, count, deviation, center)];
  if (!values.empty()) return values;
  const Random random(stream_id(seed), stream_id(name));
  values.resize(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(center + deviation * random.normal(i));
  }
  return values;
}

struct Workbench::Entry {
  std::string name;
  Shape shape;
  bool written;
  std::vector<uint8_t> bytes;  // as uploaded, with the sentinels
  std::unique_ptr<DeviceMemory> memory;
  Tensor tensor;
};

Workbench::Workbench(Backend& backend, std::string seed)
    : backend_(backend), seed_(std::move(seed)) {}
Workbench::~Workbench() = default;

Tensor Workbench::add(const std::string& name, DType dtype, const Shape& shape, const void* bytes,
                      bool written) {
  Entry entry{name, shape, written, {}, nullptr, {}};
  const int64_t size = byte_count(dtype, shape), total = size + kSentinelBytes;
  entry.bytes.assign(static_cast<size_t>(total), kSentinel);
  if (bytes && size > 0) std::memcpy(entry.bytes.data(), bytes, static_cast<size_t>(size));
  if (!bytes) std::memset(entry.bytes.data(), kPoison, static_cast<size_t>(size));
  entry.memory = backend_.allocate(total, name);
  backend_.copy_to_device(Tensor(entry.memory->data(), DType::u8, {total}), entry.bytes.data());
  entry.tensor = tensor_of(entry.memory->data(), dtype, shape);
  entries_.push_back(std::move(entry));
  return entries_.back().tensor;
}

Tensor Workbench::random(const std::string& name, DType dtype, const Shape& shape, double deviation,
                         double center) {
  return input(name, dtype, shape,
               random_values(seed_, name, element_count(shape), deviation, center));
}

Tensor Workbench::input(const std::string& name, DType dtype, const Shape& shape,
                        std::span<const double> values) {
  LLM_ASSERT(static_cast<int64_t>(values.size()) == element_count(shape), "{}", name);
  std::vector<uint8_t> bytes(static_cast<size_t>(byte_count(dtype, shape)));
  for (size_t i = 0; i < values.size(); ++i) {
    write_element(bytes, dtype, static_cast<int64_t>(i), values[i]);
  }
  return add(name, dtype, shape, bytes.data(), false);
}

Tensor Workbench::integers(const std::string& name, const Shape& shape,
                           std::span<const int32_t> values) {
  LLM_ASSERT(static_cast<int64_t>(values.size()) == element_count(shape), "{}", name);
  return add(name, DType::i32, shape, values.data(), false);
}

Tensor Workbench::integers64(const std::string& name, const Shape& shape,
                             std::span<const int64_t> values) {
  LLM_ASSERT(static_cast<int64_t>(values.size()) == element_count(shape), "{}", name);
  return add(name, DType::i64, shape, values.data(), false);
}

Tensor Workbench::scalar(const std::string& name, double value) {
  return input(name, DType::f32, {1}, std::span(&value, 1));
}

Tensor Workbench::output(const std::string& name, DType dtype, const Shape& shape) {
  return add(name, dtype, shape, nullptr, true);
}

Tensor Workbench::changed(Tensor tensor) {
  for (Entry& entry : entries_) {
    if (entry.tensor.data == tensor.data) entry.written = true;
  }
  return tensor;
}

Results Workbench::finish() {
  backend_.synchronize();
  Results results;
  for (const Entry& entry : entries_) {
    const auto total = static_cast<int64_t>(entry.bytes.size()), size = total - kSentinelBytes;
    std::vector<uint8_t> now(entry.bytes.size());
    backend_.copy_to_host(now.data(), Tensor(entry.memory->data(), DType::u8, {total}));
    const bool intact = std::memcmp(now.data() + size, entry.bytes.data() + size,
                                    static_cast<size_t>(kSentinelBytes)) == 0;
    EXPECT_TRUE(intact) << entry.name << ": written behind its end";
    if (!entry.written) {
      EXPECT_TRUE(now == entry.bytes) << entry.name << ": an input was changed";
      continue;
    }
    Result result{entry.name, entry.shape.back(), {}};
    for (int64_t i = 0; i < element_count(entry.shape); ++i) {
      result.values.push_back(read_element(now, entry.tensor.dtype, i));
    }
    results.push_back(std::move(result));
  }
  return results;
}

Errors errors_of(std::span<const double> actual, std::span<const double> expected, int64_t columns,
                 const Bounds& bounds) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (actual.size() != expected.size()) return {kInfinity, kInfinity, kInfinity};
  Errors errors;
  const size_t width = columns > 0 ? static_cast<size_t>(columns) : 1;
  std::vector<double> row_error, row_size;
  double error = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (i % width == 0) row_error.push_back(0), row_size.push_back(0);
    const double a = actual[i], b = expected[i];
    if (!std::isfinite(a) || !std::isfinite(b)) {
      if (a == b || (std::isnan(a) && std::isnan(b))) continue;
      return {kInfinity, kInfinity, kInfinity};
    }
    const double square = (a - b) * (a - b);
    error += square, row_error.back() += square;
    size += b * b, row_size.back() += b * b;
    if (a != b) {
      const double bound = bounds.absolute + bounds.relative * std::abs(b);
      errors.worst_element = std::max(errors.worst_element, std::abs(a - b) / bound);
    }
  }
  // Nothing but zeros to compare with: no error is relative to them, the bound per element judges.
  if (error == 0 || size == 0) return errors;
  errors.normalized_error = std::sqrt(error / size);
  const double floor = 0.01 * size / static_cast<double>(row_size.size());
  for (size_t row = 0; row < row_size.size(); ++row) {
    errors.worst_row =
        std::max(errors.worst_row, std::sqrt(row_error[row] / std::max(row_size[row], floor)));
  }
  return errors;
}

void expect_close(const std::string& label, std::span<const double> actual,
                  std::span<const double> expected, int64_t columns, const Bounds& bounds) {
  expect_within(label, actual, expected, columns,
                label.starts_with(kGpuLabel) ? gpu_bounds(bounds) : bounds);
}

void expect_within(const std::string& label, std::span<const double> actual,
                   std::span<const double> expected, int64_t columns, const Bounds& bounds) {
  const Errors errors = errors_of(actual, expected, columns, bounds);
  if (std::getenv("LLM_SHOW_ERRORS")) {
    fmt::print("{}: normalized {:.2e}, worst row {:.2e}, worst element {:.2f} of its bound\n",
               label, errors.normalized_error, errors.worst_row, errors.worst_element);
  }
  EXPECT_LE(errors.normalized_error, bounds.normalized_error) << label;
  EXPECT_LE(errors.worst_row, bounds.worst_row) << label;
  EXPECT_LE(errors.worst_element, 1) << label;
}

void expect_close(const std::string& label, const Results& actual, const Results& expected,
                  const Bounds& bounds) {
  ASSERT_EQ(actual.size(), expected.size()) << label;
  for (size_t i = 0; i < actual.size(); ++i) {
    expect_close(label + " " + expected[i].name, actual[i].values, expected[i].values,
                 expected[i].columns, bounds);
  }
}

void expect_same_bits(const std::string& label, const Results& actual, const Results& expected) {
  ASSERT_EQ(actual.size(), expected.size()) << label;
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(actual[i].values.size(), expected[i].values.size()) << label;
    const bool same =
        actual[i].values.empty() || std::memcmp(actual[i].values.data(), expected[i].values.data(),
                                                actual[i].values.size() * sizeof(double)) == 0;
    EXPECT_TRUE(same) << label << " " << expected[i].name << ": not the same bits";
  }
}

std::vector<double> central_differences(std::vector<double> x,
                                        const std::function<double(std::span<const double>)>& f,
                                        double step) {
  std::vector<double> slopes(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    x[i] = at + step;
    const double above = f(x);
    x[i] = at - step;
    slopes[i] = (above - f(x)) / (2 * step);
    x[i] = at;
  }
  return slopes;
}

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace llm::test
