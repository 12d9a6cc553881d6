// The loss on held-out text, and what a classifier makes of it.
#pragma once

#include <cstdint>

#include "data/example_batches.h"
#include "data/loader.h"
#include "train/confusion.h"
#include "train/workspace.h"

namespace llm {

struct EvaluationResult {
  double loss = 0;  // mean over all targets, 0 if there are none
  int64_t targets = 0;
  double accuracy = -1;  // of a classifier; -1: there is none
  // What was counted, for people: tokens, or texts of a classifier.
  const char* unit() const { return accuracy >= 0 ? "texts" : "tokens"; }
};

// Evaluates the first most_batches batches (0: all) of a split, front to back, the batches dealt
// out to the ranks in turn. No randomness: the same weights give the same loss.
EvaluationResult evaluate(Workspace& workspace, const EvaluationSource& source,
                          int64_t most_batches);

// The same of the first most_batches batches (0: all) of epoch 0 of examples.
EvaluationResult evaluate(Workspace& workspace, ExampleBatches& batches, int64_t most_batches);
// Of texts with labels, with a model that is a classifier and trained as such. Every rank gets the
// whole matrix; the loss is weighted by class where the run's is.
struct ClassifierResult {
  double loss = 0;
  ConfusionMatrix confusion;
};
ClassifierResult evaluate_classifier(Workspace& workspace, ExampleBatches& batches,
                                     int64_t most_batches);

}  // namespace llm
