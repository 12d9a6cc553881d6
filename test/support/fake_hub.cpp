#include "support/fake_hub.h"

#include <fmt/format.h>

#include "base/hash.h"
#include "base/rng.h"

namespace llm::test {
namespace {

std::string hash_of(const HubFile& file) {
  return file.large ? sha256_of(as_bytes(file.bytes)) : git_blob_hash(file.bytes);
}

std::string etag_of(const HubFile& file) { return file.etag.value_or(hash_of(file)); }

// The bytes of a file, from where the request wants them.
ServedReply bytes_reply(const ServedRequest& request, const HubFile& file,
                        const std::string& etag) {
  ServedReply reply;
  reply.headers = {{"ETag", fmt::format("\"{}\"", etag)}};
  const std::string range = request.header("range"), condition = request.header("if-range");
  const bool same = condition.empty() || condition == fmt::format("\"{}\"", etag);
  const size_t begin = range.empty() || !same ? 0 : std::stoul(range.substr(6));
  if (begin > 0 && begin >= file.bytes.size()) {
    reply.status = 416;
    return reply;
  }
  reply.body = file.bytes.substr(begin);
  if (begin == 0) return reply;
  reply.status = 206;
  reply.headers.emplace_back(
      "Content-Range",
      fmt::format("bytes {}-{}/{}", begin, file.bytes.size() - 1, file.bytes.size()));
  return reply;
}

ServedReply error_reply(int status, const std::string& code) {
  ServedReply reply;
  reply.status = status;
  reply.headers = {{"X-Error-Code", code}};
  return reply;
}

}  // namespace

std::string noise(size_t size, uint64_t seed) {
  const Random random(seed, 0);
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(random.bits32(i));
  return bytes;
}

std::string git_blob_hash(const std::string& bytes) {
  Sha1 hash;
  hash.update(fmt::format("blob {}", bytes.size()) + '\0' + bytes);
  return hash.hex_digest();
}

FakeHub::FakeHub(size_t weight_bytes)
    : storage_([this](const ServedRequest& request) { return reply_of_storage(request); }),
      hub_([this](const ServedRequest& request) { return reply_of_hub(request); }) {
  set_file("config.json", {.bytes = "{\"model_type\": \"other\"}"});
  set_file("tokenizer.json", {.bytes = "{\"a tokenizer\": 1}"});
  set_file("model.safetensors", {.bytes = noise(weight_bytes), .large = true});
}

void FakeHub::set_file(const std::string& name, HubFile file) {
  const std::lock_guard lock(mutex_);
  files_[name] = std::move(file);
}

void FakeHub::remove_file(const std::string& name) {
  const std::lock_guard lock(mutex_);
  files_.erase(name);
}

std::string FakeHub::bytes_of(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  return files_.at(name).bytes;
}

void FakeHub::change_replies(Change change) {
  const std::lock_guard lock(mutex_);
  change_ = std::move(change);
}

int FakeHub::count_gets(const std::string& name) const {
  int count = 0;
  for (const HttpServer* server : {&hub_, &storage_}) {
    for (const ServedRequest& request : server->requests()) {
      count += request.method == "GET" && request.path.ends_with("/" + name);
    }
  }
  return count;
}

ServedReply FakeHub::reply_of_hub(const ServedRequest& request) {
  const std::lock_guard lock(mutex_);
  const std::string folder = fmt::format("/{}/resolve/main/", repository);
  ServedReply reply;
  if (!token.empty() && request.header("authorization") != "Bearer " + token) {
    reply = error_reply(401, "");
  } else if (!request.path.starts_with(folder)) {
    reply = error_reply(404, "RepoNotFound");
  } else if (const auto found = files_.find(request.path.substr(folder.size()));
             found == files_.end()) {
    reply = error_reply(404, "EntryNotFound");
  } else if (const auto& [name, file] = *found; file.large) {
    reply.status = 302;
    const auto size = file.size.value_or(static_cast<int64_t>(file.bytes.size()));
    reply.headers = {{"X-Linked-Size", std::to_string(size)},
                     {"X-Linked-ETag", fmt::format("\"{}\"", etag_of(file))},
                     {"X-Repo-Commit", commit},
                     {"Location", storage_.url() + "/storage/" + name}};
  } else {
    reply = bytes_reply(request, file, etag_of(file));
    reply.headers.emplace_back("X-Repo-Commit", commit);
    if (file.size) reply.headers.emplace_back("X-Linked-Size", std::to_string(*file.size));
  }
  if (change_) change_(request, reply);
  return reply;
}

ServedReply FakeHub::reply_of_storage(const ServedRequest& request) {
  const std::lock_guard lock(mutex_);
  const auto found = files_.find(request.path.substr(std::string("/storage/").size()));
  ServedReply reply = found == files_.end() ? error_reply(404, "")
                                            : bytes_reply(request, found->second, "of-the-storage");
  if (change_) change_(request, reply);
  return reply;
}

}  // namespace llm::test
