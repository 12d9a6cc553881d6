#include "data/bad_rows.h"

#include "base/error.h"

namespace llm {

void BadRows::add(const std::string& where, const std::string& what, std::string_view hint) {
  if (!skip_) {
    fail_input(
        where, what,
        fmt::format("{}{}--skip-bad-rows leaves such rows out", hint, hint.empty() ? "" : "; "));
  }
  ++count_;
  if (first_.size() < kShown) first_.push_back(fmt::format("{}: {}", where, what));
}

void require_rows(const std::string& name, int64_t usable, const BadRows& bad) {
  if (usable > 0) return;
  if (bad.count() == 0) fail_input(name, "there are no rows in it", "is it the right file?");
  fail_input(name, fmt::format("all of its {} rows are bad; {}", with_commas(bad.count()),
                               bad.first().front()));
}

}  // namespace llm
