// download.json: which model a folder was filled with, and what is known of each of its files. It
// is what makes a folder one of ours, whose files a later download may replace.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/file.h"
#include "weights/hub.h"

namespace llm {

struct RecordedFile {
  RemoteFile remote;     // what the server told
  std::string received;  // SHA-256 of what came, where the server told no hash; empty before that
};

struct DownloadRecord {
  std::string repository, endpoint, revision, commit;  // commit: empty where not known
  std::map<std::string, RecordedFile> files;           // by name

  // The SHA-256 of what came for `file` at an earlier time, if the server still says the same of
  // it; empty where that is not known.
  std::string received(const RemoteFile& file) const;
};

// Nothing where the folder has none, or a file of that name which is no such record.
std::optional<DownloadRecord> read_download_record(const fs::path& folder);
// Atomically; an equal one stays as it is. Throws Error{disk}.
void write_download_record(const fs::path& folder, const DownloadRecord& record);

// "sha256", "git_blob".
const char* hash_name(HashKind kind);

}  // namespace llm
