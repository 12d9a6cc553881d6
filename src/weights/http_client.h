// HTTP and HTTPS, one exchange at a time, without following redirects: the caller decides about
// each step, because a token must not go to another host. The only user of libcurl.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace llm {

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string redirect;                        // absolute URL, where the status is 3xx
  double retry_after = 0;                      // seconds; 0 where the server does not say

  std::string header(const std::string& name) const;  // "" if there is none
};

struct HttpRequest {
  std::string url;
  bool head_only = false;
  std::string token;                 // sent as a bearer token; empty: none
  std::vector<std::string> headers;  // "Name: value"
  // Called once, before the body, when status and headers are known. False ends the exchange there,
  // as if it were complete.
  std::function<bool(const HttpResponse&)> on_head;
  // The body of a 2xx answer, piece by piece. What it throws ends the exchange.
  std::function<void(Bytes)> on_body;
};

// Why there was no whole answer.
struct HttpFailure {
  enum class Kind {
    unreachable,  // no such host, nobody listens, no network
    untrusted,    // its certificate or the encryption
    broken,       // it began, and then the connection was lost or stood still
    stopped,      // as asked for
  };
  Kind kind = Kind::broken;
  std::string what;
};

class HttpClient {
 public:
  // timeout: seconds without a byte until a connection counts as lost. stop: asked a few times a
  // second; true ends the exchange. May be empty.
  HttpClient(double timeout, std::function<bool()> stop);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Throws HttpFailure, and what the functions of the request throw. Certificates are verified;
  // SSL_CERT_FILE of the environment names others than the system's; proxies are those of the
  // environment (HTTPS_PROXY, NO_PROXY).
  HttpResponse exchange(const HttpRequest& request);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Whether an answer says that it is a page of HTML, or the bytes begin as one: not every server
// tells the type.
bool is_html(const HttpResponse& response);
bool begins_html(Bytes bytes);

// "https://host:443" of an absolute http or https URL, host in lower case; "" for any other text.
std::string http_origin(const std::string& url);

// For a part of a URL's path: everything but letters, digits, '-', '_', '.' and '~' as %XX.
std::string url_escape(std::string_view text);

}  // namespace llm
