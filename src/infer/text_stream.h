// Text that arrives in pieces of bytes and is handed on in whole characters, up to a stop string;
// and what of it is fit to be shown.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace llm {

class TextStream {
 public:
  // Empty stop strings are ignored.
  explicit TextStream(std::vector<std::string> stops = {});

  // Takes bytes and returns what is certain by now: whole characters (bytes that are no UTF-8 count
  // as characters), and nothing that may turn out to begin a stop string. After a stop string: "".
  std::string append(std::string_view bytes);
  // The rest, when nothing more comes.
  std::string finish();
  // A stop string was found; it and what follows is not part of the text.
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

// What to show of a text, or of a piece that append() or finish() returned. Bytes that are no UTF-8
// become U+FFFD, one for each longest beginning of a character, as Unicode recommends (chapter 3.9,
// "U+FFFD Substitution of Maximal Subparts"). On a terminal, control characters other than newline
// and tab are left out: what a model writes must not steer it.
std::string shown_text(std::string_view text, bool terminal);

}  // namespace llm
