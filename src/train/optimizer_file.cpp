#include "train/optimizer_file.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "weights/safetensors.h"
#include "weights/tensor_map.h"

namespace llm {
namespace {

struct MomentKind {
  const char* prefix;
  Tensor arena;
};

std::vector<MomentKind> moments_of(const ParameterStore& store) {
  return {{"first_moment.", store.first_moments()}, {"second_moment.", store.second_moments()}};
}

}  // namespace

void write_optimizer_file(const fs::path& path, const Gpt& model) {
  const ParameterStore& store = model.parameters();
  std::vector<TensorInfo> tensors;
  for (const MomentKind& kind : moments_of(store)) {
    for (const Parameter& parameter : store.parameters()) {
      if (!parameter.trainable) continue;
      TensorInfo info;
      info.name = kind.prefix + parameter.name;
      info.shape = parameter.shape;
      tensors.push_back(info);
    }
  }
  SafetensorsWriter writer(path, tensors);
  const bool is_host = const_cast<Gpt&>(model).backend().is_host();
  std::vector<float> host;
  for (const MomentKind& kind : moments_of(store)) {
    for (size_t i = 0; i < store.parameters().size(); ++i) {
      const Parameter& parameter = store.parameters()[i];
      if (!parameter.trainable) continue;
      const auto size = static_cast<size_t>(parameter.size());
      std::span<const float> values;  // in place where the host sees them, to need no memory
      if (is_host) {
        values = {kind.arena.f32() + parameter.offset, size};
      } else {
        host.resize(size);
        store.read(static_cast<int>(i), kind.arena, host);
        values = host;
      }
      writer.write(std::as_bytes(values));
    }
  }
  writer.finish();
}

void read_optimizer_file(const fs::path& path, Gpt& model) {
  ParameterStore& store = model.parameters();
  const SafetensorsFile file(path);
  const auto moments = 2 * std::count_if(store.parameters().begin(), store.parameters().end(),
                                         [](const Parameter& each) { return each.trainable; });
  if (std::ssize(file.tensors()) != moments) {
    fail_input(path.string(),
               fmt::format("{} tensors, the model has {} moments", file.tensors().size(), moments));
  }
  for (const MomentKind& kind : moments_of(store)) {
    for (size_t i = 0; i < store.parameters().size(); ++i) {
      const Parameter& parameter = store.parameters()[i];
      if (!parameter.trainable) continue;
      const TensorInfo* info = file.find(kind.prefix + parameter.name);
      if (info == nullptr) {
        fail_input(path.string(), fmt::format("no tensor {}{}", kind.prefix, parameter.name));
      }
      if (info->shape != parameter.shape) {
        fail_input(path.string(),
                   fmt::format("{} has shape ({}), the model's is ({})", info->name,
                               fmt::join(info->shape, ", "), fmt::join(parameter.shape, ", ")));
      }
      copy_tensor(store, static_cast<int>(i), kind.arena, file, *info);
    }
  }
}

}  // namespace llm
