#include "weights/part_file.h"

#include <fmt/format.h>

#include <system_error>
#include <vector>

#include "base/downloads.h"
#include "base/error.h"

namespace llm {
namespace {

constexpr const char* kExtension = ".part";
constexpr size_t kMaxEtag = 100;

bool can_be_a_name(const std::string& etag) {
  return !etag.empty() && etag.size() <= kMaxEtag && is_plain_text(etag) &&
         etag.find('.') == std::string::npos;  // which ends it in the name
}

fs::path part_of(const fs::path& folder, const RemoteFile& file) {
  if (!can_be_a_name(file.etag)) return folder / (file.name + kExtension);
  return folder / fmt::format("{}.{}{}", file.name, file.etag, kExtension);
}

int64_t size_of(const fs::path& path) {
  std::error_code error;
  const bool regular = fs::is_regular_file(path, error);
  const uintmax_t size = regular ? fs::file_size(path, error) : 0;
  return error ? 0 : static_cast<int64_t>(size);
}

// Calls use(part) for the file's bytes in order.
template <typename Use>
void read_parts(const fs::path& path, const Use& use) {
  FileReader reader(path);
  std::vector<char> block(size_t{1} << 20);
  while (const size_t size = reader.read(block)) use(as_bytes({block.data(), size}));
}

// FILE.part and FILE.ETAG.part, but for `kept`.
void remove_other_parts(const fs::path& folder, const RemoteFile& file, const fs::path& kept) {
  std::vector<fs::path> others;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(file.name + ".") || !name.ends_with(kExtension)) continue;
    const std::string etag = name.substr(file.name.size());  // "" stands for none
    const bool ours =
        etag == kExtension ||
        can_be_a_name(etag.substr(1, etag.size() - 1 - std::string(kExtension).size()));
    if (ours && entry.path() != kept) others.push_back(entry.path());
  }
  for (const fs::path& other : others) remove_tree(other);
}

}  // namespace

ContentHash::ContentHash(const RemoteFile& file) : kind_(file.hash_kind) {
  using namespace std::string_view_literals;
  if (kind_ != HashKind::git_blob) return;
  sha1_.update(fmt::format("blob {}", file.size));
  sha1_.update("\0"sv);
}

void ContentHash::update(Bytes bytes) {
  kind_ == HashKind::git_blob ? sha1_.update(bytes) : sha256_.update(bytes);
}

std::string ContentHash::digest() {
  return kind_ == HashKind::git_blob ? sha1_.hex_digest() : sha256_.hex_digest();
}

bool is_same_content(const fs::path& path, const RemoteFile& file, const std::string& received) {
  const std::string& expected = file.hash_kind == HashKind::none ? received : file.hash;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  if (expected.empty() || (file.size >= 0 && size_of(path) != file.size)) return false;
  ContentHash hash(file);
  read_parts(path, [&](Bytes bytes) { hash.update(bytes); });
  return hash.digest() == expected;
}

PartFile::PartFile(const fs::path& folder, const RemoteFile& file)
    : file_(file), path_(part_of(folder, file)), target_(folder / file.name) {
  remove_other_parts(folder, file, path_);
  const int64_t there = bytes_there(folder, file);
  hash_ = std::make_unique<ContentHash>(file_);
  if (there > 0) read_parts(path_, [&](Bytes bytes) { hash_->update(bytes); });
  writer_ = std::make_unique<FileWriter>(path_, there);
  resumed_ = there > 0;
}

PartFile::~PartFile() {
  try {
    if (writer_) writer_->flush();
  } catch (const Error&) {  // what is not on disk is asked for again
  }
}

int64_t PartFile::bytes_there(const fs::path& folder, const RemoteFile& file) {
  if (!can_be_a_name(file.etag)) return 0;
  const int64_t there = size_of(part_of(folder, file));
  return file.size >= 0 && there > file.size ? 0 : there;
}

void PartFile::restart() {
  writer_ = nullptr;
  writer_ = std::make_unique<FileWriter>(path_);
  hash_ = std::make_unique<ContentHash>(file_);
  resumed_ = false;
}

void PartFile::write(Bytes bytes) {
  writer_->write(bytes);
  hash_->update(bytes);
}

bool PartFile::finish() {
  writer_->sync();
  writer_->close();
  digest_ = hash_->digest();
  if (file_.hash_kind == HashKind::none || digest_ == file_.hash) return true;
  remove_tree(path_);
  return false;
}

void PartFile::remove() {
  writer_ = nullptr;
  remove_tree(path_);
}

void PartFile::rename() { rename_path(path_, target_); }

}  // namespace llm
