#include "model/lora.h"

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"

namespace llm {
namespace {

constexpr std::string_view kWeight = ".weight";

// weight (out, in) += scale b^T a, with a: (rank, in) and b: (rank, columns >= out).
void add_product(std::span<float> weight, std::span<const float> a, std::span<const float> b,
                 int64_t out, int64_t rank, float scale) {
  const int64_t in = std::ssize(weight) / out, columns = std::ssize(b) / rank;
  parallel_for(out, thread_count(), [&](int64_t row) {
    std::vector<double> sums(static_cast<size_t>(in));
    for (int64_t r = 0; r < rank; ++r) {
      const double factor = b[static_cast<size_t>(r * columns + row)];
      if (factor == 0) continue;
      const std::span<const float> line =
          a.subspan(static_cast<size_t>(r * in), static_cast<size_t>(in));
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += factor * static_cast<double>(line[i]);
    }
    for (size_t i = 0; i < sums.size(); ++i) {
      float& value = weight[static_cast<size_t>(row * in) + i];
      value = static_cast<float>(value + static_cast<double>(scale) * sums[i]);
    }
  });
}

}  // namespace

std::vector<float> merged_values(const Gpt& adapted, int index) {
  const ParameterStore& store = adapted.parameters();
  const Parameter& parameter = store.parameters()[static_cast<size_t>(index)];
  std::vector<float> values = store.read(index, store.values());
  if (!parameter.name.ends_with(kWeight)) return values;
  const std::string layer = parameter.name.substr(0, parameter.name.size() - kWeight.size());
  const int a = store.find(layer + ".lora_A"), b = store.find(layer + ".lora_B");
  if (a < 0) return values;
  const int64_t rank = store.parameters()[static_cast<size_t>(a)].shape[0];
  add_product(values, store.read(a, store.values()), store.read(b, store.values()),
              parameter.shape[0], rank, adapted.config().lora.scale());
  return values;
}

void merge_adapters(const Gpt& adapted, Gpt& plain) {
  ParameterStore& to = plain.parameters();
  for (size_t i = 0; i < to.parameters().size(); ++i) {
    const Parameter& parameter = to.parameters()[i];
    LLM_ASSERT(!parameter.adapter, "{} is an adapter", parameter.name);
    const int source = adapted.parameters().find(parameter.name);
    LLM_ASSERT(source >= 0, "{} is only in one of the models", parameter.name);
    to.write(static_cast<int>(i), to.values(), merged_values(adapted, source));
  }
}

}  // namespace llm
