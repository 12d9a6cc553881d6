#include "weights/http_client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <exception>

#include "base/error.h"

namespace llm {
namespace {

constexpr size_t kMaxHeaders = 200;
constexpr long kConnectSeconds = 30;
constexpr long kReceiveBytes = 256 << 10;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return result;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

HttpFailure::Kind kind_of(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      return HttpFailure::Kind::unreachable;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      return HttpFailure::Kind::untrusted;
    case CURLE_ABORTED_BY_CALLBACK:
      return HttpFailure::Kind::stopped;
    default:
      return HttpFailure::Kind::broken;
  }
}

struct UrlFree {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

std::string url_part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string result = text;
  curl_free(text);
  return result;
}

}  // namespace

struct HttpClient::State {
  CURL* curl = nullptr;
  std::function<bool()> stop;
  char error_text[CURL_ERROR_SIZE] = {};

  // Of the exchange that is under way.
  const HttpRequest* request = nullptr;
  HttpResponse response;
  bool head_done = false, enough = false;
  std::exception_ptr thrown;  // kept until libcurl has returned, through which nothing may fly

  // Runs `call` with what it throws kept; true if it threw nothing.
  template <typename Call>
  bool guarded(const Call& call) {
    try {
      call();
      return true;
    } catch (...) {
      thrown = std::current_exception();
      return false;
    }
  }

  void add_header_line(std::string_view line) {
    if (line.starts_with("HTTP/")) {  // also after "100 Continue"
      response.headers.clear();
      return;
    }
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || response.headers.size() >= kMaxHeaders) return;
    response.headers[lower(trimmed(line.substr(0, colon)))] = trimmed(line.substr(colon + 1));
  }

  // The head is complete. False: no more is wanted.
  bool finish_head() {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    response.status = static_cast<int>(status);
    if (status < 200) return true;
    head_done = true;
    enough = request->on_head && !request->on_head(response);
    return !enough;
  }

  // What libcurl has made of the headers when all is over.
  void note_advice() {
    char* redirect = nullptr;
    curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &redirect);
    if (redirect != nullptr) response.redirect = redirect;
    curl_off_t seconds = 0;
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &seconds);
    response.retry_after = static_cast<double>(seconds);
  }

  static size_t receive_header(char* data, size_t, size_t size, void* user) {
    auto& state = *static_cast<State*>(user);
    const std::string_view line(data, size);
    bool wanted = true;
    const bool whole = state.guarded([&] {
      if (state.head_done) return;  // what comes behind a body in chunks
      if (!trimmed(line).empty()) return state.add_header_line(line);
      wanted = state.finish_head();
    });
    return whole && wanted ? size : 0;
  }

  static size_t receive_body(char* data, size_t, size_t size, void* user) {
    auto& state = *static_cast<State*>(user);
    const bool good = state.response.status >= 200 && state.response.status < 300;
    if (!good || !state.request->on_body) return size;
    const auto call = [&] { state.request->on_body(as_bytes({data, size})); };
    return state.guarded(call) ? size : 0;
  }

  static int ask_to_stop(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    auto& state = *static_cast<State*>(user);
    return state.stop && state.stop() ? 1 : 0;
  }
};

HttpClient::HttpClient(double timeout, std::function<bool()> stop)
    : state_(std::make_unique<State>()) {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  state_->curl = global == CURLE_OK ? curl_easy_init() : nullptr;
  if (state_->curl == nullptr) throw Error(ErrorKind::device, "libcurl", "cannot be started");
  state_->stop = std::move(stop);
  CURL* curl = state_->curl;
  const auto set = [&](CURLoption option, auto value) {
    [[maybe_unused]] const CURLcode code = curl_easy_setopt(curl, option, value);
    LLM_ASSERT(code == CURLE_OK, "libcurl option {}: {}", static_cast<int>(option),
               curl_easy_strerror(code));
  };
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_USERAGENT, "llm.cpp");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(CURLOPT_CONNECTTIMEOUT, std::min(kConnectSeconds, std::max(1L, std::lround(timeout))));
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, std::max(1L, std::lround(timeout)));
  set(CURLOPT_BUFFERSIZE, kReceiveBytes);
  set(CURLOPT_ERRORBUFFER, state_->error_text);
  set(CURLOPT_HEADERFUNCTION, &State::receive_header);
  set(CURLOPT_HEADERDATA, state_.get());
  set(CURLOPT_WRITEFUNCTION, &State::receive_body);
  set(CURLOPT_WRITEDATA, state_.get());
  set(CURLOPT_XFERINFOFUNCTION, &State::ask_to_stop);
  set(CURLOPT_XFERINFODATA, state_.get());
  set(CURLOPT_NOPROGRESS, 0L);
  const char* certificates = std::getenv("SSL_CERT_FILE");
  if (certificates != nullptr && *certificates != '\0') set(CURLOPT_CAINFO, certificates);
}

HttpClient::~HttpClient() { curl_easy_cleanup(state_->curl); }

HttpResponse HttpClient::exchange(const HttpRequest& request) {
  State& state = *state_;
  state.request = &request;
  state.response = {};
  state.head_done = state.enough = false;
  state.thrown = nullptr;
  state.error_text[0] = '\0';

  struct List {
    curl_slist* first = nullptr;
    ~List() { curl_slist_free_all(first); }
    void add(const std::string& line) { first = curl_slist_append(first, line.c_str()); }
  } headers;
  headers.add("Accept-Encoding: identity");  // sizes and hashes are those of the file
  if (!request.token.empty()) headers.add("Authorization: Bearer " + request.token);
  for (const std::string& header : request.headers) headers.add(header);
  curl_easy_setopt(state.curl, CURLOPT_HTTPHEADER, headers.first);
  curl_easy_setopt(state.curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(state.curl, CURLOPT_HTTPGET, 1L);
  if (request.head_only) curl_easy_setopt(state.curl, CURLOPT_NOBODY, 1L);

  const CURLcode code = curl_easy_perform(state.curl);
  curl_easy_setopt(state.curl, CURLOPT_HTTPHEADER, nullptr);
  if (state.thrown) std::rethrow_exception(state.thrown);
  state.note_advice();
  if (code == CURLE_OK || state.enough) return state.response;
  const bool has_text = state.error_text[0] != '\0';
  throw HttpFailure{kind_of(code), has_text ? state.error_text : curl_easy_strerror(code)};
}

std::string HttpResponse::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

bool is_html(const HttpResponse& response) {
  return response.header("content-type").starts_with("text/html");
}

bool begins_html(Bytes bytes) {
  constexpr std::string_view kDoctype = "<!doctype html", kTag = "<html";
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const size_t begin = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  const std::string first = lower(text.substr(begin, kDoctype.size()));
  return first.starts_with(kDoctype) || first.starts_with(kTag);
}

std::string http_origin(const std::string& url) {
  const std::unique_ptr<CURLU, UrlFree> parsed(curl_url());
  const bool good =
      parsed && curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) == CURLUE_OK;
  const std::string scheme = good ? url_part(parsed.get(), CURLUPART_SCHEME) : "";
  const std::string host = good ? url_part(parsed.get(), CURLUPART_HOST) : "";
  if ((scheme != "https" && scheme != "http") || host.empty()) return {};
  const std::string port = url_part(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  return fmt::format("{}://{}:{}", scheme, lower(host), port);
}

std::string url_escape(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    result += plain ? std::string(1, c)
                    : fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
  }
  return result;
}

}  // namespace llm
