// Instruction/answer pairs of the synthetic corpus, over the world of the stories. A task is a
// function that makes up one question and works out its answer.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "data/synth_text.h"

namespace llm::synth {

struct Example {
  std::string instruction, input, output;
};

struct Task {
  std::string_view name;
  int weight;  // how often it is asked, compared with the others
  Example (*make)(Writer&, RandomSequence&);
};

std::span<const Task> word_tasks();
std::span<const Task> number_tasks();
std::span<const Task> sentence_tasks();
std::span<const Task> reading_tasks();

// One pair; `task` receives the name of its task if it is given.
Example write_example(RandomSequence& random, std::string* task = nullptr);

// Sets {key} to a child's name with its pronouns, one that is none of `others`.
void set_child(Writer& words, std::string_view key, std::initializer_list<std::string_view> others);

}  // namespace llm::synth
