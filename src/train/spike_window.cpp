#include "train/spike_window.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace llm {
namespace {

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

void SpikeWindow::add(int64_t step, float loss) {
  LLM_ASSERT(std::isfinite(loss) && (entries_.empty() || step > entries_.back().step));
  if (static_cast<int64_t>(entries_.size()) == kSpikeWindow) entries_.erase(entries_.begin());
  entries_.push_back({step, loss});
}

void SpikeWindow::set_entries(const std::vector<Entry>& entries) {
  entries_.clear();
  for (const Entry& entry : entries) add(entry.step, entry.loss);
}

float SpikeWindow::limit_for(int64_t step) const {
  std::vector<double> losses;
  for (const Entry& entry : entries_) {
    if (entry.step <= step - 2) losses.push_back(entry.loss);
  }
  // One fewer than are kept, so that the number does not depend on whether the loss of step - 1 is
  // known already (it is, right after a checkpoint).
  const size_t most = static_cast<size_t>(kSpikeWindow) - 1;
  if (losses.size() > most) losses.erase(losses.begin());
  if (losses.size() < static_cast<size_t>(kSpikeLeastEntries)) {
    return std::numeric_limits<float>::infinity();
  }
  const double median = median_of(losses);
  std::vector<double> distances;
  distances.reserve(losses.size());
  for (double loss : losses) distances.push_back(std::abs(loss - median));
  const double deviation =
      std::max(1.4826 * median_of(distances), kSpikeLeastDeviation * std::abs(median));
  return static_cast<float>(median + kSpikeDeviations * deviation);
}

double SpikeWindow::recent_mean(int64_t count) const {
  if (entries_.empty()) return 0;
  const int64_t take = std::min(count, static_cast<int64_t>(entries_.size()));
  double sum = 0;
  for (auto entry = entries_.end() - take; entry != entries_.end(); ++entry) sum += entry->loss;
  return sum / static_cast<double>(take);
}

}  // namespace llm
