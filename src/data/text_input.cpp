#include "data/text_input.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace llm {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// Control characters that no text has many of; programs, images and tensors do.
void refuse_binary(std::string_view begin, const std::string& name) {
  constexpr size_t kLooked = size_t{1} << 16, kMany = 32, kShare = 25;  // one in 25
  const std::string_view looked = begin.substr(0, kLooked);
  const auto count = static_cast<size_t>(std::count_if(looked.begin(), looked.end(), [](char c) {
    return (c >= 0 && c < 7) || (c > 13 && c < 27) || (c > 27 && c < 32);
  }));
  if (count < kMany || count * kShare < looked.size()) return;
  fail_input(name,
             fmt::format("is a binary file, not text: {} of its first {} bytes are control "
                         "characters",
                         with_commas(static_cast<int64_t>(count)),
                         with_commas(static_cast<int64_t>(looked.size()))),
             "is it the right file? text is read as UTF-8");
}

}  // namespace

ByteSource open_bytes(const fs::path& path) {
  // Shared because a std::function must be copyable.
  return [file = std::make_shared<FileReader>(path)](std::span<char> into) {
    return file->read(into);
  };
}

std::string input_name(const fs::path& path) {
  return path == "-" ? "standard input" : path.string();
}

std::string text_place(const std::string& name, int64_t line) {
  return fmt::format("{}: line {}", name, with_commas(line));
}

void refuse_other_formats(std::string_view begin, const std::string& name) {
  struct Signature {
    std::string_view bytes;
    const char *what, *hint;
  };
  using namespace std::string_view_literals;
  static constexpr const char* kUnpack = "unpack it first";
  static constexpr const char* kConvert = "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW";
  static constexpr Signature kSignatures[] = {
      {"\xFF\xFE"sv, "is UTF-16 text, UTF-8 is read", kConvert},
      {"\xFE\xFF"sv, "is UTF-16 text, UTF-8 is read", kConvert},
      {"\x1F\x8B"sv, "is a gzip file, not text", kUnpack},
      {"\x28\xB5\x2F\xFD"sv, "is a Zstandard file, not text", kUnpack},
      {"\xFD\x37zXZ\0"sv, "is an xz file, not text", kUnpack},
      {"BZh91AY&SY"sv, "is a bzip2 file, not text", kUnpack},
      {"PK\x03\x04"sv, "is a zip file, not text", kUnpack},
      {"PAR1"sv, "is a Parquet file, not text", "export its text column as JSONL"},
      {"\x7F\x45LF"sv, "is a program, not text", "is it the right file?"},
      {"\x89PNG"sv, "is an image, not text", "is it the right file?"},
      {"\xFF\xD8\xFF"sv, "is an image, not text", "is it the right file?"},
      {"%PDF-"sv, "is a PDF file, not text", "convert it: pdftotext FILE"},
  };
  for (const Signature& signature : kSignatures) {
    if (begin.starts_with(signature.bytes)) fail_input(name, signature.what, signature.hint);
  }
  refuse_binary(begin, name);
}

TextInput::TextInput(ByteSource source, std::string name)
    : source_(std::move(source)), name_(std::move(name)) {}

// Moves what is unused to the front, and makes the buffer larger where that gives too little.
void TextInput::make_room() {
  if (end_ < buffer_.size()) return;
  std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), buffer_.end(), buffer_.begin());
  end_ -= begin_;
  begin_ = 0;
  if (2 * end_ >= buffer_.size()) buffer_.resize(std::max(kReadBytes, 2 * buffer_.size()));
}

bool TextInput::read_more() {
  const size_t before = rest().size();
  bool more = true;
  while (more && (!begun_ || rest().size() == before)) {
    make_room();
    const size_t count = source_(std::span(buffer_).subspan(end_));
    end_ += count;
    more = count > 0;
    if (!used_) refuse_other_formats(rest(), name_);
    if (begun_ || (more && end_ < kByteOrderMark.size())) continue;
    begun_ = true;
    if (rest().starts_with(kByteOrderMark)) begin_ += kByteOrderMark.size();
  }
  return rest().size() > before;
}

void TextInput::use(size_t count) {
  LLM_ASSERT(count <= end_ - begin_);
  const std::string_view part = rest().substr(0, count);
  line_ += std::count(part.begin(), part.end(), '\n');
  begin_ += count;
  used_ = used_ || count > 0;
}

std::optional<TextLine> TextInput::next_line() {
  size_t looked_at = 0, end = 0;
  while ((end = rest().find('\n', looked_at)) == std::string_view::npos) {
    looked_at = rest().size();
    if (static_cast<int64_t>(looked_at) > kMaxJsonLineBytes) {
      fail_input(text_place(name_, line_),
                 fmt::format("the line is longer than {} bytes", with_commas(kMaxJsonLineBytes)),
                 "JSONL has one object per line; is this one large JSON value?");
    }
    if (!read_more()) break;
  }
  const std::string_view left = rest();
  if (left.empty()) return std::nullopt;
  used_ = true;
  const size_t taken = std::min(end, left.size());
  begin_ += std::min(taken + 1, left.size());
  return TextLine{left.substr(0, taken), line_++};
}

}  // namespace llm
