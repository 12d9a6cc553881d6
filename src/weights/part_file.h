// A file on its way from the hub: FILE.ETAG.part, which becomes FILE when all of it is there and
// its hash is right. Its name says which bytes it is a beginning of, so a file that has changed on
// the server is never continued.
#pragma once

#include <memory>
#include <string>

#include "base/file.h"
#include "base/hash.h"
#include "weights/hub.h"

namespace llm {

// The hash that a remote file has, of bytes that come piece by piece.
class ContentHash {
 public:
  explicit ContentHash(const RemoteFile& file);
  void update(Bytes bytes);
  // Hex digits: of the kind that the file has, SHA-256 where it has none. Spent afterwards.
  std::string digest();

 private:
  HashKind kind_;
  Sha256 sha256_;
  Sha1 sha1_;
};

// Whether the file at `path` has the size and the hash of `file`; where that has no hash, the
// SHA-256 `received`: false where that is empty, for a size alone says nothing of the bytes.
bool is_same_content(const fs::path& path, const RemoteFile& file, const std::string& received);

class PartFile : public FileSink {
 public:
  // Goes on with the part of an earlier time, if there is one of the same bytes; parts of others
  // with this name are removed. A file without ETag starts anew.
  PartFile(const fs::path& folder, const RemoteFile& file);
  ~PartFile() override;  // what came so far stays on disk

  int64_t size() const override { return writer_->size(); }
  void restart() override;
  void write(Bytes bytes) override;

  // Bytes that were there at the beginning and may be of another time.
  bool resumed() const { return resumed_; }
  // All has come: on disk when this returns. False if the hash is wrong; then nothing is left.
  bool finish();
  // After finish(): the hash of all bytes, as ContentHash has it.
  const std::string& digest() const { return digest_; }
  // There is nothing to come: leaves nothing on disk.
  void remove();
  // Gives it its name, over an older file.
  void rename();
  const fs::path& path() const { return path_; }

  // What `folder` has of `file` in parts, in bytes.
  static int64_t bytes_there(const fs::path& folder, const RemoteFile& file);

 private:
  RemoteFile file_;
  fs::path path_, target_;
  std::unique_ptr<FileWriter> writer_;
  std::unique_ptr<ContentHash> hash_;
  std::string digest_;
  bool resumed_ = false;
};

}  // namespace llm
