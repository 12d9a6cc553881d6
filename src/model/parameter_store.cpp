#include "model/parameter_store.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/integer.h"
#include "base/parallel.h"
#include "base/rng.h"

namespace llm {
namespace {

constexpr int64_t kBlock = 1 << 16;  // elements that a thread takes at a time

int64_t product(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

// An arena of `count` f32 at element `begin` of `memory`.
Tensor arena_at(const DeviceMemory& memory, int64_t begin, int64_t count) {
  return Tensor(static_cast<float*>(memory.data()) + begin, DType::f32, {count});
}

float draw(const Parameter& parameter, const Random& random, uint64_t index) {
  if (parameter.init == Init::normal) {
    return static_cast<float>(random.normal(index) * parameter.init_deviation);
  }
  const double width = std::sqrt(12.0) * parameter.init_deviation;
  return static_cast<float>((random.uniform(index) - 0.5) * width);
}

}  // namespace

int64_t Parameter::size() const { return product(shape); }

int64_t Parameter::padded_size() const {
  return size() / std::max<int64_t>(shape[0], 1) * std::max(padded_rows, shape[0]);
}

bool Parameter::is_free(int64_t element) const {
  if (free_columns.empty()) return true;
  const int64_t row = element / shape[1], column = element % shape[1];
  const int64_t group = row / (shape[0] / std::ssize(free_columns));
  const ColumnRange& range = free_columns[static_cast<size_t>(group)];
  return column >= range.begin && column < range.begin + range.width;
}

int64_t Parameter::free_size() const {
  if (free_columns.empty()) return size();
  const int64_t rows = shape[0] / std::ssize(free_columns);
  return std::accumulate(
      free_columns.begin(), free_columns.end(), int64_t{0},
      [&](int64_t sum, const ColumnRange& range) { return sum + rows * range.width; });
}

ParameterStore::ParameterStore(Backend& backend, std::vector<Parameter> parameters,
                               const StoreOptions& options)
    : backend_(backend), parameters_(std::move(parameters)) {
  if (options.trainable) {
    for (Parameter& parameter : parameters_) parameter.trainable = options.trainable(parameter);
  }
  lay_out();
  take_memory(options);
}

void ParameterStore::lay_out() {
  const auto place = [&](Parameter& parameter) {
    parameter.offset = count_;
    count_ += round_up(parameter.padded_size(), kParameterAlignment);
  };
  for (Parameter& parameter : parameters_) {
    LLM_ASSERT(parameter.layer >= layers_ - 1, "{} is not in layer order", parameter.name);
    while (layers_ <= parameter.layer) {
      layer_begin_.push_back(count_);
      ++layers_;
    }
    if (!parameter.trainable) continue;
    if (count_ == 0) first_trained_layer_ = parameter.layer;
    place(parameter);
  }
  trained_ = count_;
  layer_begin_.push_back(trained_);
  if (trained_ == 0) first_trained_layer_ = layers_;
  for (Parameter& parameter : parameters_) {
    if (!parameter.trainable) place(parameter);
  }
}

void ParameterStore::take_memory(const StoreOptions& options) {
  LLM_ASSERT(options.dtype == DType::f32 || options.dtype == DType::bf16);
  if (options.dtype == DType::f32 || options.training) {
    value_memory_ = backend_.allocate(count_ * 4, "parameters");
    values_ = arena_at(*value_memory_, 0, count_);
  }
  if (options.dtype == DType::bf16) {
    rounded_memory_ = backend_.allocate(count_ * 2, "parameters");
    rounded_values_ = Tensor(rounded_memory_->data(), DType::bf16, {count_});
    if (!options.training) values_ = rounded_values_;
  }
  if (!options.training) return;
  LLM_ASSERT(trained_ > 0, "nothing to train");
  const int64_t chunks = trained_ / kParameterAlignment;
  gradient_memory_ = backend_.allocate(trained_ * 4, "gradients");
  moment_memory_ = backend_.allocate((2 * trained_ + chunks + 1) * 4, "optimizer state");
  gradients_ = arena_at(*gradient_memory_, 0, trained_);
  first_moments_ = arena_at(*moment_memory_, 0, trained_);
  second_moments_ = arena_at(*moment_memory_, trained_, trained_);
  chunk_decay_ = arena_at(*moment_memory_, 2 * trained_, chunks);
  spare_scalar_ = arena_at(*moment_memory_, 2 * trained_ + chunks, 1);
}

int ParameterStore::find(std::string_view name) const {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& parameter = parameters_[i];
    if (parameter.name == name || std::find(parameter.aliases.begin(), parameter.aliases.end(),
                                            name) != parameter.aliases.end()) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

Tensor ParameterStore::view(Tensor arena, int index) const {
  const Parameter& parameter = parameters_[static_cast<size_t>(index)];
  const Tensor flat = arena.slice(0, parameter.offset, parameter.padded_size());
  if (parameter.shape.size() == 1) return flat;
  LLM_ASSERT(parameter.shape.size() == 2);
  return flat.view({std::max(parameter.padded_rows, parameter.shape[0]), parameter.shape[1]});
}

Tensor ParameterStore::value(int index) const {
  return view(rounded_values_ ? rounded_values_ : values_, index);
}

Tensor ParameterStore::trained_view(Tensor arena, int index) const {
  if (!arena || !parameters_[static_cast<size_t>(index)].trainable) return {};
  return view(arena, index);
}

Tensor ParameterStore::gradient(int index) const { return trained_view(gradients_, index); }
Tensor ParameterStore::first_moment(int index) const { return trained_view(first_moments_, index); }
Tensor ParameterStore::second_moment(int index) const {
  return trained_view(second_moments_, index);
}

Tensor ParameterStore::trained_part(Tensor values) const {
  return values ? values.slice(0, 0, trained_) : Tensor();
}

Tensor ParameterStore::layer_slice(Tensor arena, int layer) const {
  const int64_t begin = layer_begin_[static_cast<size_t>(layer)];
  return arena.slice(0, begin, layer_begin_[static_cast<size_t>(layer) + 1] - begin);
}

void ParameterStore::set_weight_decay(float decay) {
  std::vector<float> chunks(static_cast<size_t>(chunk_decay_.size()), 0.0f);
  for (const Parameter& parameter : parameters_) {
    if (!parameter.trainable) continue;
    const int64_t begin = parameter.offset / kParameterAlignment;
    const int64_t end =
        begin + round_up(parameter.padded_size(), kParameterAlignment) / kParameterAlignment;
    std::fill(chunks.begin() + begin, chunks.begin() + end, parameter.decay ? decay : 0.0f);
  }
  backend_.copy_to_device(chunk_decay_, chunks.data());
}

void ParameterStore::initialize(uint64_t seed) {
  constexpr int64_t kPiece = 1 << 20;  // elements on the host at once
  zero();
  std::vector<float> piece;
  for (size_t index = 0; index < parameters_.size(); ++index) {
    const Parameter& parameter = parameters_[index];
    if (parameter.init == Init::zeros) continue;
    const Random random(seed, stream_id("init:" + parameter.name));
    for (int64_t begin = 0; begin < parameter.size(); begin += kPiece) {
      const int64_t count = std::min(kPiece, parameter.size() - begin);
      piece.assign(static_cast<size_t>(count), 1.0f);
      if (parameter.init != Init::ones) {
        parallel_for((count + kBlock - 1) / kBlock, thread_count(), [&](int64_t block) {
          const int64_t end = std::min(count, (block + 1) * kBlock);
          for (int64_t i = block * kBlock; i < end; ++i) {
            piece[static_cast<size_t>(i)] =
                draw(parameter, random, static_cast<uint64_t>(begin + i));
          }
        });
      }
      write(static_cast<int>(index), values_, piece, begin);
    }
  }
}

void ParameterStore::zero() {
  backend_.fill(values_, 0);
  if (rounded_values_) backend_.fill(rounded_values_, 0);
  if (!gradients_) return;
  zero_gradients();
  backend_.fill(first_moments_, 0);
  backend_.fill(second_moments_, 0);
}

void ParameterStore::zero_gradients() { backend_.fill(gradients_, 0); }

void ParameterStore::read(int index, Tensor arena, std::span<float> into) const {
  const Parameter& parameter = parameters_[static_cast<size_t>(index)];
  LLM_ASSERT(static_cast<int64_t>(into.size()) == parameter.size());
  // Padded rows come last, so the logical values are a prefix.
  const Tensor from = arena.slice(0, parameter.offset, parameter.size());
  if (from.dtype == DType::f32) return backend_.copy_to_host(into.data(), from);
  std::vector<uint16_t> rounded(into.size());
  backend_.copy_to_host(rounded.data(), from);
  std::transform(rounded.begin(), rounded.end(), into.begin(), bf16_to_f32);
}

std::vector<float> ParameterStore::read(int index, Tensor arena) const {
  std::vector<float> values(static_cast<size_t>(parameters_[static_cast<size_t>(index)].size()));
  read(index, arena, values);
  return values;
}

void ParameterStore::write(int index, Tensor arena, std::span<const float> from, int64_t begin) {
  const Parameter& parameter = parameters_[static_cast<size_t>(index)];
  const auto count = static_cast<int64_t>(from.size());
  LLM_ASSERT(begin >= 0 && begin + count <= parameter.size());
  const Tensor padded = arena.slice(0, parameter.offset, parameter.padded_size());
  const bool last = begin + count == parameter.size();
  const int64_t written = last ? padded.size() - begin : count;
  if (written > count) backend_.fill(padded.slice(0, begin + count, written - count), 0);
  if (padded.dtype == DType::bf16) {
    const auto rounded = std::make_unique_for_overwrite<uint16_t[]>(from.size());
    parallel_for((count + kBlock - 1) / kBlock, thread_count(), [&](int64_t block) {
      const int64_t first = block * kBlock, end = std::min(count, first + kBlock);
      std::transform(from.begin() + first, from.begin() + end, rounded.get() + first, f32_to_bf16);
    });
    return backend_.copy_to_device(padded.slice(0, begin, count), rounded.get());
  }
  backend_.copy_to_device(padded.slice(0, begin, count), from.data());
  if (rounded_values_ && arena.data == values_.data) {
    backend_.convert(rounded_values_.slice(0, parameter.offset + begin, written),
                     padded.slice(0, begin, written));
  }
}

int64_t ParameterStore::trainable_count() const {
  int64_t count = 0;
  for (const Parameter& parameter : parameters_) {
    if (parameter.trainable) count += parameter.free_size();
  }
  return count;
}

}  // namespace llm
