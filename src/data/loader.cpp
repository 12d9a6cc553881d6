#include "data/loader.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/rng.h"

namespace llm {
namespace {

constexpr int32_t kIgnoredTarget = -100;
constexpr size_t kBatchesAhead = 4;

// Gives each part its number of slots: largest remainders, but at least one slot each.
std::vector<int64_t> divide_slots(const std::vector<MixturePart>& parts, int64_t slots) {
  double total = 0;
  for (const MixturePart& part : parts) total += part.weight;
  std::vector<int64_t> counts;
  std::vector<std::pair<double, size_t>> remainders;
  int64_t given = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const double share = parts[i].weight / total * static_cast<double>(slots);
    const auto count = std::max<int64_t>(1, static_cast<int64_t>(share));
    counts.push_back(count);
    remainders.emplace_back(share - static_cast<double>(count), i);
    given += count;
  }
  std::sort(remainders.begin(), remainders.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  for (size_t i = 0; given < slots; ++i, ++given) ++counts[remainders[i % parts.size()].second];
  // The parts that were lifted to one slot may have taken too many: the largest part pays.
  for (; given > slots; --given) --*std::max_element(counts.begin(), counts.end());
  return counts;
}

// The chairman assignment of Tijdeman ("The chairman assignment problem", Discrete Mathematics 32,
// 1980): at each slot, among the parts that may take one without getting too far ahead, the one
// whose next slot is due first. No part is ever 1 - 1 / (2 n - 2) slots or more off its share.
std::vector<int32_t> make_schedule(const std::vector<int64_t>& counts, int64_t slots) {
  const auto parts = static_cast<int64_t>(counts.size());
  const int64_t scale = 2 * parts - 2;
  std::vector<int64_t> taken(counts.size());
  std::vector<int32_t> schedule;
  schedule.reserve(static_cast<size_t>(slots));
  for (int64_t slot = 1; slot <= slots; ++slot) {
    size_t chosen = counts.size();
    double chosen_due = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < counts.size(); ++i) {
      const int64_t surplus = counts[i] * slot - taken[i] * slots;  // share minus taken, x slots
      if (surplus * scale < slots) continue;
      // The share reaches taken + 1 - 1 / scale after `due` slots; later it would be too far
      // behind.
      const int64_t target = ((taken[i] + 1) * scale - 1) * slots;
      const double due =
          std::ceil(static_cast<double>(target) / static_cast<double>(scale * counts[i]));
      if (due < chosen_due) {
        chosen = i;
        chosen_due = due;
      }
    }
    LLM_ASSERT(chosen < counts.size(), "slot {} of {} parts", slot, parts);
    ++taken[chosen];
    schedule.push_back(static_cast<int32_t>(chosen));
  }
  return schedule;
}

void check_part(const MixturePart& part, int64_t length) {
  if (!(part.weight > 0) || !std::isfinite(part.weight)) {
    fail_usage(part.name, fmt::format("mixture weight {} is not a positive number", part.weight));
  }
  const int64_t tokens = part.dataset->train.size();
  if (tokens > length) return;
  fail_input(part.name,
             fmt::format("{} training tokens, a sample needs {} (the context and one more)",
                         with_commas(tokens), with_commas(length + 1)),
             "use a shorter context or more text");
}

}  // namespace

SampleSource::SampleSource(std::vector<MixturePart> parts, int64_t length, uint64_t seed)
    : parts_(std::move(parts)), length_(length), seed_(seed) {
  LLM_ASSERT(!parts_.empty() && length_ > 0);
  if (parts_.size() > 1000) {
    fail_usage("--data", fmt::format("{} datasets, at most 1000 can be mixed", parts_.size()));
  }
  for (const MixturePart& part : parts_) {
    check_part(part, length_);
    windows_.push_back((part.dataset->train.size() - 1) / length_);
  }
  if (parts_.size() == 1) {
    slots_ = {kScheduleSlots};
    return;
  }
  slots_ = divide_slots(parts_, kScheduleSlots);
  std::vector<int32_t> before(parts_.size());
  for (const int32_t part : make_schedule(slots_, kScheduleSlots)) {
    schedule_.push_back({part, before[static_cast<size_t>(part)]++});
  }
}

int64_t SampleSource::part_of(int64_t sample) const {
  LLM_ASSERT(sample >= 0);
  if (schedule_.empty()) return 0;
  return schedule_[static_cast<size_t>(sample % kScheduleSlots)].part;
}

int64_t SampleSource::index_in_part(int64_t sample) const {
  if (schedule_.empty()) return sample;
  const Slot& slot = schedule_[static_cast<size_t>(sample % kScheduleSlots)];
  return sample / kScheduleSlots * slots_[static_cast<size_t>(slot.part)] + slot.before;
}

std::vector<int64_t> SampleSource::counts_before(int64_t sample) const {
  LLM_ASSERT(sample >= 0);
  if (schedule_.empty()) return {sample};
  std::vector<int64_t> counts;
  for (const int64_t slots : slots_) counts.push_back(sample / kScheduleSlots * slots);
  for (int64_t i = 0; i < sample % kScheduleSlots; ++i) {
    ++counts[static_cast<size_t>(schedule_[static_cast<size_t>(i)].part)];
  }
  return counts;
}

int64_t SampleSource::samples_per_epoch() const {
  int64_t total = 0;
  for (const int64_t windows : windows_) total += windows;
  return total;
}

int64_t SampleSource::window_begin(int64_t sample) const {
  const int64_t part = part_of(sample);
  const int64_t windows = windows_[static_cast<size_t>(part)];
  const int64_t index = index_in_part(sample);
  const auto epoch = static_cast<uint64_t>(index / windows);
  // A stream of its own for each part and epoch.
  const uint64_t which = (static_cast<uint64_t>(part) << 48) | epoch;
  const uint64_t order = Random(seed_, stream_id("order of windows")).bits64(which);
  const auto window = static_cast<int64_t>(permute_index(
      static_cast<uint64_t>(index % windows), static_cast<uint64_t>(windows), seed_, order));
  int64_t offset = 0;
  if (epoch > 0) {
    const Random offsets(seed_, stream_id("offset of windows"));
    offset = static_cast<int64_t>(offsets.below(static_cast<uint64_t>(length_), which));
  }
  const int64_t begin = offset + window * length_;
  const int64_t tokens = parts_[static_cast<size_t>(part)].dataset->train.size();
  return begin + length_ + 1 <= tokens ? begin : 0;
}

void SampleSource::fill(int64_t sample, std::span<int32_t> tokens,
                        std::span<int32_t> targets) const {
  const auto length = static_cast<size_t>(length_);
  LLM_ASSERT(tokens.size() == length && targets.size() == length);
  const TokenSequence& train = parts_[static_cast<size_t>(part_of(sample))].dataset->train;
  const int64_t begin = window_begin(sample);
  train.read(begin, tokens);
  std::copy(tokens.begin() + 1, tokens.end(), targets.begin());
  train.read(begin + length_, targets.last(1));
}

struct BatchLoader::State {
  const SampleSource& source;
  int64_t batch, length, next_sample, stride;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Batch> ready;
  std::exception_ptr error;
  bool stop = false;
  std::thread thread;

  Batch make_batch() {
    Batch result{batch, length, {}, {}, {}};
    result.tokens.resize(static_cast<size_t>(batch * length));
    result.targets.resize(static_cast<size_t>(batch * length));
    for (int64_t row = 0; row < batch; ++row) {
      const auto at = static_cast<size_t>(row * length);
      const auto count = static_cast<size_t>(length);
      result.sample_ids.push_back(next_sample + row);
      source.fill(next_sample + row, std::span(result.tokens).subspan(at, count),
                  std::span(result.targets).subspan(at, count));
    }
    next_sample += stride;
    return result;
  }

  void run() {
    try {
      while (true) {
        Batch made = make_batch();
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return stop || ready.size() < kBatchesAhead; });
        if (stop) return;
        ready.push_back(std::move(made));
        changed.notify_all();
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      error = std::current_exception();
      changed.notify_all();
    }
  }
};

BatchLoader::BatchLoader(const SampleSource& source, int64_t batch, int64_t length,
                         int64_t first_sample, int rank, int ranks) {
  LLM_ASSERT(batch > 0 && length == source.length() && first_sample >= 0);
  LLM_ASSERT(rank >= 0 && rank < ranks);
  state_.reset(new State{.source = source,
                         .batch = batch,
                         .length = length,
                         .next_sample = first_sample + rank * batch,
                         .stride = ranks * batch,
                         .mutex = {},
                         .changed = {},
                         .ready = {},
                         .error = {},
                         .stop = false,
                         .thread = {}});
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

BatchLoader::~BatchLoader() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_all();
  state_->thread.join();
}

Batch BatchLoader::next() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return !state_->ready.empty() || state_->error; });
  // What was read before an error is still good.
  if (state_->ready.empty()) std::rethrow_exception(state_->error);
  Batch result = std::move(state_->ready.front());
  state_->ready.pop_front();
  state_->changed.notify_all();
  return result;
}

EvaluationSource::EvaluationSource(const TokenSequence& tokens, int64_t length)
    : tokens_(&tokens), length_(length) {
  LLM_ASSERT(length > 0);
  windows_ = (targets() + length - 1) / length;
}

int64_t EvaluationSource::targets() const { return std::max<int64_t>(0, tokens_->size() - 1); }

Batch EvaluationSource::batch(int64_t index, int64_t batch) const {
  LLM_ASSERT(index >= 0 && batch > 0);
  Batch result{batch, length_, {}, {}, {}};
  result.tokens.assign(static_cast<size_t>(batch * length_), 0);
  result.targets.assign(static_cast<size_t>(batch * length_), kIgnoredTarget);
  for (int64_t row = 0; row < batch; ++row) {
    const int64_t window = index * batch + row;
    result.sample_ids.push_back(window);
    if (window >= windows_) continue;
    const int64_t begin = window * length_;
    const auto count = static_cast<size_t>(std::min(length_, targets() - begin));
    const auto at = static_cast<size_t>(row * length_);
    tokens_->read(begin, std::span(result.tokens).subspan(at, count));
    tokens_->read(begin + 1, std::span(result.targets).subspan(at, count));
  }
  return result;
}

}  // namespace llm
