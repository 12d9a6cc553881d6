// A server with the layout of the Hugging Face hub: small files come from it, large ones from a
// second server, to which it redirects.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "support/http_server.h"
#include "weights/hub.h"

namespace llm::test {

struct HubFile {
  std::string bytes;
  bool large = false;                    // SHA-256 and a redirect; otherwise the hash of Git
  std::optional<std::string> etag = {};  // instead of the right hash
  std::optional<int64_t> size = {};      // X-Linked-Size instead of the right one
};

class FakeHub {
 public:
  // gpt2 as openai-community/gpt2, with config.json, tokenizer.json and model.safetensors; the
  // contents are arbitrary, the last one is `weight_bytes` long.
  explicit FakeHub(size_t weight_bytes = 100'000);

  std::string url() const { return hub_.url(); }
  HttpServer& hub() { return hub_; }
  HttpServer& storage() { return storage_; }
  void set_file(const std::string& name, HubFile file);
  void remove_file(const std::string& name);
  std::string bytes_of(const std::string& name) const;

  // What to say instead of the usual reply, or nothing. Called for both servers, usual reply given.
  using Change = std::function<void(const ServedRequest&, ServedReply&)>;
  void change_replies(Change change);

  // The requests of either server for the bytes of a file.
  int count_gets(const std::string& name) const;

  std::string repository = "openai-community/gpt2", commit = std::string(40, 'c');
  std::string token;  // asked for where it is not empty

 private:
  ServedReply reply_of_hub(const ServedRequest& request);
  ServedReply reply_of_storage(const ServedRequest& request);

  mutable std::mutex mutex_;
  std::map<std::string, HubFile> files_;
  Change change_;
  HttpServer storage_, hub_;
};

// Where the bytes of a file go: into memory.
class StringSink : public FileSink {
 public:
  int64_t size() const override { return static_cast<int64_t>(bytes.size()); }
  void restart() override { bytes.clear(), ++restarts; }
  void write(Bytes more) override {
    bytes.append(reinterpret_cast<const char*>(more.data()), more.size());
  }

  std::string bytes;
  int restarts = 0;
};

// `size` bytes that look random, the same each time.
std::string noise(size_t size, uint64_t seed = 1);
std::string git_blob_hash(const std::string& bytes);

// Asks for a file where the hub's answer sends it.
inline bool is_storage(const ServedRequest& request) {
  return request.path.starts_with("/storage/");
}

}  // namespace llm::test
