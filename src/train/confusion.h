// What a classifier said against what is true, and the figures that follow.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/comm.h"
#include "base/json.h"

namespace llm {

// Of one class: 0 where the quotient has no meaning (nothing said or nothing true).
struct ClassFigures {
  double precision = 0, recall = 0, f1 = 0;
  int64_t texts = 0;  // that truly are of this class
};

class ConfusionMatrix {
 public:
  ConfusionMatrix() = default;
  explicit ConfusionMatrix(int64_t labels)
      : labels_(labels), counts_(static_cast<size_t>(labels * labels)) {}

  void add(int64_t truth, int64_t predicted);
  int64_t at(int64_t truth, int64_t predicted) const;
  int64_t labels() const { return labels_; }
  int64_t texts() const;
  double accuracy() const;  // 0 where there are no texts
  ClassFigures of_class(int64_t label) const;
  // The mean over the classes that texts are of.
  ClassFigures macro() const;

  void sum_over_ranks(Backend& backend, Comm& comm);

 private:
  int64_t labels_ = 0;
  std::vector<int64_t> counts_;  // (truth, predicted)
};

// {"accuracy", "confusion": [[...], ...] (rows: truth), "macro_f1", "classes": {NAME: {...}}}.
Json to_json(const ConfusionMatrix& confusion, const std::vector<std::string>& names);
// The matrix and the figures of each class as a table, for people; of many classes only a part.
std::string confusion_text(const ConfusionMatrix& confusion, const std::vector<std::string>& names);

}  // namespace llm
