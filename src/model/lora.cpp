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

void merge_adapters(const Gpt& adapted, Gpt& plain) {
  const ParameterStore& from = adapted.parameters();
  ParameterStore& to = plain.parameters();
  for (size_t i = 0; i < to.parameters().size(); ++i) {
    const Parameter& parameter = to.parameters()[i];
    LLM_ASSERT(!parameter.adapter, "{} is an adapter", parameter.name);
    const int source = from.find(parameter.name);
    LLM_ASSERT(source >= 0, "{} is only in one of the models", parameter.name);
    std::vector<float> values = from.read(source, from.values());
    if (parameter.name.ends_with(kWeight)) {
      const std::string layer = parameter.name.substr(0, parameter.name.size() - kWeight.size());
      const int a = from.find(layer + ".lora_A"), b = from.find(layer + ".lora_B");
      if (a >= 0) {
        const int64_t rank = from.parameters()[static_cast<size_t>(a)].shape[0];
        add_product(values, from.read(a, from.values()), from.read(b, from.values()),
                    parameter.shape[0], rank, adapted.config().lora.scale());
      }
    }
    to.write(static_cast<int>(i), to.values(), values);
  }
}

}  // namespace llm
