#include "weights/download_record.h"

#include "base/downloads.h"
#include "base/error.h"
#include "base/json.h"

namespace llm {
namespace {

constexpr const char* kFormat = "llm download 1";
constexpr const char* kReceived = "received_sha256";
constexpr JsonLimits kLimits = {.max_depth = 8, .max_bytes = 4 << 20, .max_values = 100'000};
constexpr int64_t kMaxBytes = int64_t{1} << 50;

Json file_json(const RecordedFile& file) {
  const RemoteFile& remote = file.remote;
  Json json = Json::object();
  if (remote.size >= 0) json["bytes"] = remote.size;
  if (remote.hash_kind != HashKind::none) {
    json[hash_name(remote.hash_kind)] = remote.hash;
  } else if (!remote.etag.empty()) {
    json["etag"] = remote.etag;
  }
  if (!file.received.empty()) json[kReceived] = file.received;
  return json;
}

RecordedFile parse_file(const JsonObject& object, const std::string& name) {
  RecordedFile file;
  RemoteFile& remote = file.remote;
  remote.name = name;
  remote.size = object.integer("bytes", -1, kMaxBytes, -1);
  remote.etag = object.text("etag", "");
  for (const HashKind kind : {HashKind::sha256, HashKind::git_blob}) {
    if (!object.has(hash_name(kind))) continue;
    remote.hash_kind = kind;
    remote.hash = remote.etag = object.text(hash_name(kind));
  }
  file.received = object.text(kReceived, "");
  return file;
}

DownloadRecord parse_record(const JsonObject& object) {
  if (object.text("format") != kFormat) object.fail("format", "is another");
  DownloadRecord record;
  record.repository = object.text("repository");
  record.endpoint = object.text("endpoint", "");
  record.revision = object.text("revision", "");
  record.commit = object.text("commit", "");
  const JsonObject files = object.object("files");
  for (const auto& [name, value] : files.json().items()) {
    record.files[name] = parse_file(JsonObject(value, files.where()), name);
  }
  return record;
}

}  // namespace

std::string DownloadRecord::received(const RemoteFile& file) const {
  const auto found = files.find(file.name);
  if (found == files.end() || file.hash_kind != HashKind::none) return {};
  const RemoteFile& then = found->second.remote;
  // A server that tells nothing of a file may have another by now.
  const bool tells = file.size >= 0 || !file.etag.empty();
  const bool same =
      then.hash_kind == HashKind::none && then.size == file.size && then.etag == file.etag;
  return tells && same ? found->second.received : "";
}

std::optional<DownloadRecord> read_download_record(const fs::path& folder) {
  const fs::path path = folder / kDownloadRecord;
  if (!fs::exists(path)) return std::nullopt;
  try {
    const Json json = read_json_file(path, kLimits);
    return parse_record(JsonObject(json, path.string()));
  } catch (const Error&) {  // anybody's file
    return std::nullopt;
  }
}

void write_download_record(const fs::path& folder, const DownloadRecord& record) {
  Json json{{"format", kFormat},
            {"repository", record.repository},
            {"endpoint", record.endpoint},
            {"revision", record.revision}};
  if (!record.commit.empty()) json["commit"] = record.commit;
  json["files"] = Json::object();
  for (const auto& [name, file] : record.files) json["files"][name] = file_json(file);
  const std::string text = to_pretty_text(json);
  const fs::path path = folder / kDownloadRecord;
  if (fs::exists(path) && read_text_file(path) == text) return;
  write_file_atomically(path, text);
}

const char* hash_name(HashKind kind) { return kind == HashKind::sha256 ? "sha256" : "git_blob"; }

}  // namespace llm
