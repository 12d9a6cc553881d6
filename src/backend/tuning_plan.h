// What was chosen among several algorithms of one op: measured once, kept in a file, so that a run
// that goes on computes the same bits and does not measure again. JSON:
//   {"format": "llm tuning plan 1",
//    "identity": {"gpu": "NVIDIA H200", "cublasLt": "130002"},
//    "choices": {"KEY": {...}, ...}}
// What a choice means is known to the op that made it, which checks it before use: a plan from
// outside may name algorithms that do not exist.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/json.h"

namespace llm {

class TuningPlan {
 public:
  // What choices depend on beside their key: the GPU and the versions of the libraries.
  using Identity = std::map<std::string, std::string>;

  TuningPlan() = default;
  explicit TuningPlan(Identity identity) : identity_(std::move(identity)) {}

  // Each part of the backend adds what its choices depend on, before the first set() or read.
  void add_identity(const std::string& name, const std::string& value) { identity_[name] = value; }
  const Identity& identity() const { return identity_; }

  // Null where nothing was chosen yet. Stays valid until the same key is set.
  const Json* find(const std::string& key) const;
  // choice is an object. Guesses are kept beside what was measured, but are no reason to save.
  void set(const std::string& key, Json choice, bool measured = true);
  bool empty() const { return choices_.empty(); }

  // True once a measured choice was set that save() has not written.
  bool changed() const { return changed_; }

  // A locked plan belongs to a run that goes on: ops measure nothing. What is missing from it is
  // chosen without measuring, by the library's own first guess, which is the same each time, and
  // recorded.
  void lock() { locked_ = true; }
  bool locked() const { return locked_; }

  std::string to_json() const;
  // Adds the choices of a text made by to_json(), over those with the same keys; takes all or
  // nothing. Throws Error{input} with `where` if it is damaged, Error{device} if it was made for
  // another GPU or other versions.
  void from_json(std::string_view text, const std::string& where);

  // The cache. False where there is no file, or one for another GPU or other versions: nothing is
  // taken then. A damaged one throws Error{input}.
  bool load(const fs::path& path);
  void save(const fs::path& path);  // atomically; makes the folder

 private:
  Identity identity_;
  std::map<std::string, Json> choices_;
  bool changed_ = false;
  bool locked_ = false;
};

}  // namespace llm
