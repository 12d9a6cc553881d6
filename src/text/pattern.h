// Split patterns: the regular expressions that cut text into the pieces within which BPE merges.
#pragma once

#include <string>
#include <string_view>

namespace llm {

// GPT-2 ("Language Models are Unsupervised Multitask Learners", 2019).
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// cl100k_base (GPT-3.5, GPT-4): digits in threes, contractions in any case, newlines apart.
inline constexpr std::string_view kCl100kPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
// Llama 3 took over the pattern of cl100k_base unchanged.
inline constexpr std::string_view kLlama3Pattern = kCl100kPattern;

// "gpt2", "cl100k" or "llama3" -> the pattern. Throws Error{usage} for another name.
std::string_view named_pattern(std::string_view name);

// A pattern as tokenizer files write it (the dialect of Oniguruma and Rust's regex crates) in the
// dialect of PCRE2.
struct TranslatedPattern {
  std::string text;
  // Whether a match may depend on what is left of the position where it starts, as far as the
  // pattern's anchors tell (PCRE2 itself reports lookbehinds).
  bool anchored = false;
};

// Throws Error{input} at `where` for constructs that PCRE2 would silently read in another way.
TranslatedPattern translate_pattern(std::string_view pattern, const std::string& where);

}  // namespace llm
