// Files of a model on the Hugging Face hub, or on a server with its layout:
//   ENDPOINT/OWNER/NAME/resolve/REVISION/FILE
// whose answer says in its headers the file's size (X-Linked-Size, else Content-Length), its
// identity (X-Linked-ETag, else ETag) and the commit (X-Repo-Commit), and often redirects to where
// the bytes are.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "weights/http_client.h"

namespace llm {

struct HubOptions {
  std::string endpoint = "https://huggingface.co";
  std::string token;  // empty: none. Sent to the host of the endpoint only
  std::string revision = "main";
  int retries = 5;         // of a request, in a row, without a byte in between
  double retry_delay = 1;  // seconds before the first one; doubled for each, up to 30
  double timeout = 60;     // seconds without a byte
  std::function<bool()> stop;
};

enum class HashKind {
  none,
  sha256,    // of the bytes: large files
  git_blob,  // SHA-1 of "blob SIZE\0" and the bytes: small files
};

struct RemoteFile {
  std::string name;
  int64_t size = -1;  // bytes; -1: not known
  std::string etag;   // without quotes; empty: none that stands for the very bytes
  HashKind hash_kind = HashKind::none;
  std::string hash;    // lower-case hex digits
  std::string commit;  // empty: not known
};

// Where the bytes of a file go.
class FileSink {
 public:
  virtual ~FileSink() = default;
  virtual int64_t size() const = 0;  // of what is there; the file goes on behind it
  virtual void restart() = 0;        // drops what is there
  virtual void write(Bytes bytes) = 0;
};

// All functions throw Error: usage for wrong options, input for what is not there, not allowed or
// not what was announced, device for what is wrong with the network, preempted when stopped.
class Hub {
 public:
  explicit Hub(HubOptions options);

  // Chooses the repository of a model's name, which is_model_name(): its config.json.
  RemoteFile open(const std::string& name);
  // A file of the repository, or nothing.
  std::optional<RemoteFile> find(const std::string& name);
  // Its bytes from sink.size() on, all of them; after a loss of the connection it goes on. Sizes
  // are checked, hashes are not; a page of HTML is refused as such.
  void get(const RemoteFile& file, FileSink& sink);
  // The same. False, with nothing written: it is not there, although find() found it, as a mirror
  // has it that redirects to the hub without asking.
  bool get_if_there(const RemoteFile& file, FileSink& sink);

  const std::string& repository() const { return repository_; }
  std::string page() const;                           // for people
  std::string url_of(const std::string& file) const;  // where find() and get() ask

 private:
  HttpResponse look_up(RemoteFile& file);
  HttpResponse look_up_once(RemoteFile& file, bool head_only);
  HttpResponse get_patiently(const RemoteFile& file, FileSink& sink);
  HttpResponse get_once(const RemoteFile& file, FileSink& sink);
  HttpResponse follow(HttpRequest request, const std::vector<std::string>& own_headers,
                      const std::function<bool(const HttpResponse&, bool own)>& on_redirect);
  HttpResponse patiently(const std::string& file, const std::function<HttpResponse()>& attempt,
                         const std::function<int64_t()>& received);
  void wait(double seconds);
  [[noreturn]] void fail_exchange(const std::string& file, const HttpFailure& failure) const;
  [[noreturn]] void refuse(const std::string& file, const HttpResponse& response) const;

  HubOptions options_;
  std::string origin_, repository_;
  bool reached_ = false;  // the server has answered once
  HttpClient client_;
};

}  // namespace llm
