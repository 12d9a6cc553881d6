#include "train/multiple_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"

namespace llm {
namespace {

constexpr std::string_view kSpaces = " \t\r\n";
constexpr const char* kMoreItems =
    "a question is no example for itself; take fewer, or examples of another --shots-file";

bool same_question(const ChoiceItem& a, const ChoiceItem& b) {
  return a.context == b.context && a.endings == b.endings;
}

// One ending of one item, ready for the model.
struct ScoredAnswer {
  size_t item, ending;
  ScoredText text;
};

class CandidateMaker {
 public:
  CandidateMaker(const Tokenizer& tokenizer, const ShotPrompts& prompts, int64_t length)
      : tokenizer_(tokenizer), prompts_(prompts), length_(static_cast<size_t>(length)) {}

  // Appends the candidates of an item; returns how many lost their beginning.
  int64_t make(const ChoiceItem& item, size_t index, std::vector<ScoredAnswer>& candidates) const {
    int64_t truncated = 0;
    const std::string examples = prompts_.examples(item);
    for (size_t ending = 0; ending < item.endings.size(); ++ending) {
      const ChoiceText text = choice_text(item, ending);
      std::vector<TokenId> ids = encode(examples + text.context, item);
      if (ids.empty() && tokenizer_.end_of_text()) ids.push_back(*tokenizer_.end_of_text());
      const std::vector<TokenId> targets = encode(text.ending, item);
      check(item, ids, targets);
      ids.insert(ids.end(), targets.begin(), targets.end() - 1);
      if (ids.size() > length_) {
        ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(length_));
        ++truncated;
      }
      candidates.push_back({index, ending, {std::move(ids), targets}});
    }
    return truncated;
  }

 private:
  std::vector<TokenId> encode(const std::string& text, const ChoiceItem& item) const {
    return with_where(item.where, [&] { return tokenizer_.encode(text); });
  }

  void check(const ChoiceItem& item, std::span<const TokenId> ids,
             std::span<const TokenId> targets) const {
    if (ids.empty()) {
      fail_input(item.where, "\"ctx\" is empty, and the tokenizer has no end-of-text to begin with",
                 "the model needs something to continue");
    }
    if (targets.empty() || targets.size() > length_) {
      fail_input(item.where,
                 fmt::format("an ending has {} tokens, must be in [1, {}]",
                             with_commas(static_cast<int64_t>(targets.size())),
                             with_commas(static_cast<int64_t>(length_))),
                 "the model's context has to hold it");
    }
  }

  const Tokenizer& tokenizer_;
  const ShotPrompts& prompts_;
  size_t length_;
};

// The index of the highest value, the first of several.
size_t best(std::span<const double> values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace

ShotPrompts::ShotPrompts(std::span<const ChoiceItem> pool, const ShotOptions& options)
    : pool_(pool), shots_(options.shots) {
  LLM_ASSERT(shots_ >= 0);
  if (shots_ == 0) return;
  const uint64_t stream = stream_id("few-shot examples");
  for (uint64_t i = 0; i < pool.size(); ++i) {
    order_.push_back(static_cast<size_t>(permute_index(i, pool.size(), options.seed, stream)));
  }
  if (shots_ > static_cast<int64_t>(pool.size())) {
    fail_usage("--shots",
               fmt::format("{} examples, but there are {} items to take them from",
                           with_commas(shots_), with_commas(static_cast<int64_t>(pool.size()))),
               kMoreItems);
  }
}

std::string ShotPrompts::examples(const ChoiceItem& question) const {
  std::string text;
  int64_t taken = 0;
  for (size_t i = 0; i < order_.size() && taken < shots_; ++i) {
    const ChoiceItem& item = pool_[order_[i]];
    if (same_question(item, question)) continue;
    const ChoiceText solved = choice_text(item, static_cast<size_t>(item.label));
    text += solved.context + solved.ending + "\n\n";
    ++taken;
  }
  if (taken < shots_) {
    fail_usage("--shots",
               fmt::format("{} examples, but there are {} items beside the one of {}",
                           with_commas(shots_), with_commas(taken), question.where),
               kMoreItems);
  }
  return text;
}

ChoiceText choice_text(const ChoiceItem& item, size_t ending) {
  const std::string& text = item.endings[ending];
  const size_t end = item.context.find_last_not_of(kSpaces);
  const size_t kept = end == std::string::npos ? 0 : end + 1;
  std::string between = item.context.substr(kept);
  const bool brings_space = kSpaces.find(text.front()) != std::string_view::npos;
  if (between.empty() && kept > 0 && !brings_space) between = " ";
  return {item.context.substr(0, kept), between + text};
}

double ChoiceScore::accuracy() const {
  return items > 0 ? static_cast<double>(right) / static_cast<double>(items) : 0;
}

double ChoiceScore::accuracy_normalized() const {
  return items > 0 ? static_cast<double>(right_normalized) / static_cast<double>(items) : 0;
}

ChoiceScore score_choices(TokenScorer& scorer, const Tokenizer& tokenizer,
                          std::span<const ChoiceItem> items, const ShotPrompts& prompts,
                          const std::function<void(int64_t endings_done)>& progress) {
  ChoiceScore score;
  std::vector<ScoredAnswer> candidates;
  const CandidateMaker maker(tokenizer, prompts, scorer.length());
  for (size_t i = 0; i < items.size(); ++i) score.truncated += maker.make(items[i], i, candidates);
  score.endings = static_cast<int64_t>(candidates.size());
  // The longest first: little padding, and a lack of memory shows at once.
  std::stable_sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
    return a.text.tokens.size() > b.text.tokens.size();
  });

  std::vector<std::vector<double>> sums;
  for (const ChoiceItem& item : items) sums.emplace_back(item.endings.size(), 0.0);
  const auto step = static_cast<size_t>(scorer.batch());
  for (size_t begin = 0; begin < candidates.size(); begin += step) {
    const size_t end = std::min(candidates.size(), begin + step);
    std::vector<ScoredText> batch;
    for (size_t i = begin; i < end; ++i) batch.push_back(std::move(candidates[i].text));
    const std::vector<std::vector<float>> losses = scorer.losses(batch);
    for (size_t i = begin; i < end; ++i) {
      double& sum = sums[candidates[i].item][candidates[i].ending];
      for (const float loss : losses[i - begin]) sum -= loss;
    }
    if (progress) progress(static_cast<int64_t>(end));
  }

  for (size_t i = 0; i < items.size(); ++i) {
    const auto label = static_cast<size_t>(items[i].label);
    std::vector<double> normalized;
    for (size_t e = 0; e < sums[i].size(); ++e) {
      normalized.push_back(sums[i][e] / static_cast<double>(items[i].endings[e].size()));
    }
    ++score.items;
    score.right += best(sums[i]) == label;
    score.right_normalized += best(normalized) == label;
  }
  return score;
}

}  // namespace llm
