#include "data/synth_instructions.h"

#include <vector>

#include "data/synth_world.h"

namespace llm::synth {
namespace {

std::vector<Task> all_tasks() {
  std::vector<Task> tasks;
  for (auto list : {word_tasks(), number_tasks(), sentence_tasks(), reading_tasks()}) {
    tasks.insert(tasks.end(), list.begin(), list.end());
  }
  return tasks;
}

}  // namespace

void set_child(Writer& words, std::string_view key,
               std::initializer_list<std::string_view> others) {
  while (true) {
    const bool girl = words.chance(50);
    const Text name = girl ? words.pick(kGirls) : words.pick(kBoys);
    bool taken = false;
    for (std::string_view other : others) taken = taken || words.get(other).text == name;
    if (taken) continue;
    words.set(key, Value{std::string(name), girl ? Gender::she : Gender::he, {}});
    return;
  }
}

Example write_example(RandomSequence& random, std::string* task) {
  static const std::vector<Task> tasks = all_tasks();
  uint64_t total = 0;
  for (const Task& one : tasks) total += static_cast<uint64_t>(one.weight);
  uint64_t draw = random.below(total);
  const Task* chosen = tasks.data();
  while (draw >= static_cast<uint64_t>(chosen->weight)) {
    draw -= static_cast<uint64_t>(chosen->weight);
    chosen++;
  }
  if (task != nullptr) *task = chosen->name;
  Writer words(random);
  return chosen->make(words, random);
}

}  // namespace llm::synth
