#include "train/training_data.h"

#include <algorithm>

#include "base/error.h"

namespace llm {

WindowData::WindowData(const SampleSource& samples, const StepShape& shape)
    : samples_(samples), shape_(shape) {
  LLM_ASSERT(shape.rows_per_step % (shape.batch * shape.ranks) == 0);
}

void WindowData::begin(int64_t samples) {
  loader_.emplace(samples_, shape_.batch, samples_.length(), samples, shape_.rank, shape_.ranks);
}

StepBatches WindowData::next() {
  StepBatches step;
  for (int64_t i = 0; i < shape_.micro_batches(); ++i) {
    step.micro_batches.push_back(loader_->next());
  }
  step.tokens = shape_.rows_per_step * samples_.length();
  return step;
}

Json WindowData::mixture(int64_t samples) const {
  if (samples_.parts().size() < 2) return nullptr;
  Json shares = Json::object();
  const std::vector<int64_t> counts = samples_.counts_before(samples);
  for (size_t i = 0; i < counts.size(); ++i) {
    shares[samples_.parts()[i].name] =
        samples > 0 ? static_cast<double>(counts[i]) / static_cast<double>(samples) : 0.0;
  }
  return shares;
}

ExampleData::ExampleData(ExampleBatches& batches, const StepShape& shape)
    : batches_(batches), shape_(shape) {
  LLM_ASSERT(shape.micro_batches() * shape.ranks * batches.steps_per_epoch() ==
             batches.batches_per_epoch());
}

StepBatches ExampleData::next() {
  StepBatches step;
  const int64_t micro_batches = shape_.micro_batches(), batches = micro_batches * shape_.ranks;
  for (int64_t i = 0; i < micro_batches; ++i) {
    step.micro_batches.push_back(batches_.batch(step_ * batches + i * shape_.ranks + shape_.rank));
  }
  for (int64_t i = 0; i < batches; ++i) step.tokens += batches_.tokens_of(step_ * batches + i);
  ++step_;
  return step;
}

ValidationPart window_validation(const std::string& name, double weight,
                                 const EvaluationSource& source, int64_t most_batches) {
  return {name, weight, [source, most_batches](Workspace& workspace) {
            return evaluate(workspace, source, most_batches);
          }};
}

}  // namespace llm
