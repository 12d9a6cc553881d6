#include "weights/hub.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <thread>

#include "base/downloads.h"
#include "base/log.h"
#include "base/progress.h"

namespace llm {
namespace {

constexpr int kMaxRedirects = 10;
constexpr double kMaxDelay = 30, kMaxRetryAfter = 600;  // seconds
constexpr int64_t kMaxFileBytes = int64_t{1} << 50;

bool is_success(int status) { return status >= 200 && status < 300; }
bool is_redirect(const HttpResponse& response) {
  return response.status >= 300 && response.status < 400 && !response.redirect.empty();
}
// What a later try may change.
bool is_temporary(int status) { return status == 408 || status == 429 || status >= 500; }
// Of a server that knows GET only.
bool refuses_head(int status) { return status == 405 || status == 501; }

// A size in bytes, or -1 for what is none.
int64_t parse_size(std::string_view text) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && value >= 0 && value <= kMaxFileBytes ? value : -1;
}

bool is_hash(const std::string& text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// An ETag without its quotes. A weak one (W/"...") does not stand for the very bytes, unless it is
// a hash of them: servers weaken an ETag when they might compress.
std::string strong_etag(std::string text) {
  const bool weak = text.starts_with("W/");
  if (weak) text.erase(0, 2);
  const bool quoted = text.size() > 2 && text.front() == '"' && text.back() == '"';
  if (quoted) text = text.substr(1, text.size() - 2);
  const bool hash = is_hash(text, 40) || is_hash(text, 64);
  return hash || (quoted && !weak) ? text : "";
}

// The headers say it at the first step, before the redirects to where the bytes are.
void note_identity(RemoteFile& file, const HttpResponse& response) {
  if (file.size < 0) file.size = parse_size(response.header("x-linked-size"));
  if (file.etag.empty()) file.etag = strong_etag(response.header("x-linked-etag"));
  if (file.commit.empty()) file.commit = response.header("x-repo-commit");
}

// The same from the answer that has the bytes.
void complete_identity(RemoteFile& file, const HttpResponse& response) {
  if (file.size < 0) file.size = parse_size(response.header("content-length"));
  if (file.etag.empty()) file.etag = strong_etag(response.header("etag"));
}

bool is_told(const RemoteFile& file) { return file.size >= 0 && !file.etag.empty(); }

void note_hash(RemoteFile& file) {
  file.hash_kind = is_hash(file.etag, 64)                     ? HashKind::sha256
                   : is_hash(file.etag, 40) && file.size >= 0 ? HashKind::git_blob
                                                              : HashKind::none;
  if (file.hash_kind != HashKind::none) file.hash = file.etag;
}

[[noreturn]] void fail_size(const std::string& where, int64_t bytes, int64_t expected) {
  fail_input(where,
             fmt::format("the server sends {} bytes, the repository says {}", with_commas(bytes),
                         with_commas(expected)),
             "the server is at fault, or the file is changing just now: try again later");
}

// Such as the login page of a network, or what a proxy has to say.
[[noreturn]] void fail_html(const std::string& where) {
  fail_input(where, "the server sends a page of HTML in place of the file",
             "is the endpoint right? something on the way may have answered in its place");
}

// First byte and size of the whole of "bytes 100-199/200"; -1 for what it does not say.
struct ContentRange {
  int64_t begin = -1, total = -1;
};

ContentRange parse_content_range(std::string_view text) {
  constexpr std::string_view kUnit = "bytes ";
  const size_t dash = text.find('-'), slash = text.find('/');
  if (!text.starts_with(kUnit) || dash == std::string_view::npos ||
      slash == std::string_view::npos || slash < dash) {
    return {};
  }
  return {parse_size(text.substr(kUnit.size(), dash - kUnit.size())),
          parse_size(text.substr(slash + 1))};
}

// The beginning of an answer with bytes, before the first of them.
void begin_bytes(const RemoteFile& file, const std::string& url, const HttpResponse& response,
                 FileSink& sink) {
  int64_t total = parse_size(response.header("content-length"));
  if (response.status == 206) {
    const ContentRange range = parse_content_range(response.header("content-range"));
    if (range.begin != sink.size()) {
      sink.restart();
      throw HttpFailure{HttpFailure::Kind::broken, "the server went on at the wrong byte"};
    }
    total = range.total;
  } else if (sink.size() > 0) {
    sink.restart();  // the server cannot go on, or the file has changed
  }
  if (total < 0 || file.size < 0 || total == file.size) return;
  is_html(response) ? fail_html(url) : fail_size(url, total, file.size);
}

std::vector<std::string> repositories_of(const std::string& name) {
  const std::string short_name = short_model_name(name);
  if (!has_short_name(name)) return {name};
  return {"openai-community/" + short_name, short_name};  // the hub has moved them there
}

}  // namespace

Hub::Hub(HubOptions options)
    : options_(std::move(options)), client_(options_.timeout, options_.stop) {
  while (options_.endpoint.ends_with('/')) options_.endpoint.pop_back();
  origin_ = http_origin(options_.endpoint);
  if (origin_.empty() || options_.endpoint.find_first_of("?# \t\r\n") != std::string::npos) {
    fail_usage("endpoint", fmt::format("\"{}\" is no address", options_.endpoint),
               "--endpoint or HF_ENDPOINT, such as https://huggingface.co");
  }
  if (options_.revision.empty()) fail_usage("--revision", "is empty", "main, a tag or a commit");
  const bool printable = std::all_of(options_.token.begin(), options_.token.end(),
                                     [](char c) { return c > ' ' && c <= '~'; });
  if (!printable) fail_usage("HF_TOKEN", "has characters that no token has", "copy it once more");
  const bool local = origin_.starts_with("http://localhost:") ||
                     origin_.starts_with("http://127.") || origin_.starts_with("http://[::1]:");
  if (!options_.token.empty() && origin_.starts_with("http://") && !local) {
    fail_usage(options_.endpoint, "HF_TOKEN would be sent unencrypted",
               "use https, or unset HF_TOKEN");
  }
}

std::string Hub::page() const { return options_.endpoint + "/" + repository_; }

std::string Hub::url_of(const std::string& file) const {
  return fmt::format("{}/resolve/{}/{}", page(), url_escape(options_.revision), url_escape(file));
}

RemoteFile Hub::open(const std::string& name) {
  const std::vector<std::string> candidates = repositories_of(name);
  HttpResponse first;
  for (const std::string& candidate : candidates) {
    repository_ = candidate;
    RemoteFile file;
    file.name = "config.json";
    const HttpResponse response = look_up(file);
    if (is_success(response.status) || is_redirect(response)) return file;
    if (first.status == 0) first = response;
    const bool repository_is_there = !response.header("x-error-code").empty() &&
                                     response.header("x-error-code") != "RepoNotFound";
    if (repository_is_there) break;
  }
  repository_ = candidates.front();
  refuse("config.json", first);
}

std::optional<RemoteFile> Hub::find(const std::string& name) {
  RemoteFile file;
  file.name = name;
  const HttpResponse response = look_up(file);
  if (response.status == 404) return std::nullopt;
  if (!is_success(response.status) && !is_redirect(response)) refuse(name, response);
  return file;
}

HttpResponse Hub::look_up(RemoteFile& file) {
  const HttpResponse response = patiently(
      file.name,
      [&] {
        HttpResponse answer = look_up_once(file, /*head_only=*/true);
        const bool untold = is_redirect(answer) && !is_told(file);
        if (refuses_head(answer.status) || untold) answer = look_up_once(file, false);
        return answer;
      },
      [] { return 0; });
  note_hash(file);
  return response;
}

HttpResponse Hub::look_up_once(RemoteFile& file, bool head_only) {
  HttpRequest request;
  request.url = url_of(file.name);
  request.head_only = head_only;
  request.on_head = [&](const HttpResponse& head) { return !is_success(head.status); };
  RemoteFile fresh;
  fresh.name = file.name;
  file = fresh;
  HttpResponse elsewhere;  // the redirect to another host
  const HttpResponse response = follow(request, {}, [&](const HttpResponse& step, bool own) {
    if (own) note_identity(file, step);
    if (http_origin(step.redirect) != origin_) elsewhere = step;
    return !is_told(file);  // all is known: no need to ask the other host
  });
  // Addresses that are signed for GET may refuse HEAD; what GET does not find is not there.
  const bool absent = !head_only && response.status == 404;
  if (!is_success(response.status) && elsewhere.status != 0 && !absent) return elsewhere;
  if (!is_success(response.status)) return response;
  note_identity(file, response);
  complete_identity(file, response);
  return response;
}

void Hub::get(const RemoteFile& file, FileSink& sink) {
  const HttpResponse response = get_patiently(file, sink);
  if (!is_success(response.status)) refuse(file.name, response);
}

bool Hub::get_if_there(const RemoteFile& file, FileSink& sink) {
  const HttpResponse response = get_patiently(file, sink);
  if (response.status == 404) return false;
  if (!is_success(response.status)) refuse(file.name, response);
  return true;
}

HttpResponse Hub::get_patiently(const RemoteFile& file, FileSink& sink) {
  return patiently(
      file.name, [&] { return get_once(file, sink); }, [&] { return sink.size(); });
}

HttpResponse Hub::get_once(const RemoteFile& file, FileSink& sink) {
  const std::string url = url_of(file.name);
  HttpRequest request;
  request.url = url;
  std::vector<std::string> own_headers;
  if (sink.size() > 0) {
    request.headers.push_back(fmt::format("Range: bytes={}-", sink.size()));
    // Another host has ETags of its own; for it, the comparison at the redirect has to do.
    if (!file.etag.empty()) own_headers.push_back(fmt::format("If-Range: \"{}\"", file.etag));
  }
  request.on_head = [&](const HttpResponse& head) {
    if (is_success(head.status)) begin_bytes(file, url, head, sink);
    return true;
  };
  request.on_body = [&](Bytes bytes) {
    if (sink.size() == 0 && begins_html(bytes)) fail_html(url);
    const int64_t after = sink.size() + static_cast<int64_t>(bytes.size());
    if (file.size >= 0 && after > file.size) fail_size(url, after, file.size);
    sink.write(bytes);
  };
  HttpResponse response = follow(request, own_headers, [&](const HttpResponse& step, bool own) {
    const std::string etag = own ? strong_etag(step.header("x-linked-etag")) : "";
    if (!etag.empty() && !file.etag.empty() && etag != file.etag) {
      fail_input(url, "the file was changed while it was loaded", "run the same command again");
    }
    return true;
  });
  if (response.status == 416 && sink.size() > 0) {
    sink.restart();
    throw HttpFailure{HttpFailure::Kind::broken, "the server cannot go on within the file"};
  }
  if (is_success(response.status) && file.size >= 0 && sink.size() < file.size) {
    throw HttpFailure{HttpFailure::Kind::broken, "the answer ended early"};
  }
  return response;
}

// The token goes to the hub itself only, and nothing from https to http.
HttpResponse Hub::follow(HttpRequest request, const std::vector<std::string>& own_headers,
                         const std::function<bool(const HttpResponse&, bool own)>& on_redirect) {
  const std::vector<std::string> headers = request.headers;
  const std::string first = request.url;
  for (int step = 0; step <= kMaxRedirects; ++step) {
    const std::string origin = http_origin(request.url);
    const bool own = origin == origin_;
    if (origin.empty() || (origin_.starts_with("https:") && !origin.starts_with("https:"))) {
      throw Error(
          ErrorKind::device, first, "the server redirects to an unsafe address",
          "is this the right endpoint? something on the way may have answered in its place");
    }
    request.token = own ? options_.token : "";
    request.headers = headers;
    if (own) request.headers.insert(request.headers.end(), own_headers.begin(), own_headers.end());
    HttpResponse response = client_.exchange(request);
    reached_ = true;
    if (!is_redirect(response) || !on_redirect(response, own)) return response;
    request.url = response.redirect;
  }
  throw Error(ErrorKind::device, first, "the server redirects without end", "try again later");
}

HttpResponse Hub::patiently(const std::string& file, const std::function<HttpResponse()>& attempt,
                            const std::function<int64_t()>& received) {
  for (int failures = 1;; ++failures) {
    const int64_t before = received();
    HttpFailure failure;
    double pause = std::min(kMaxDelay, options_.retry_delay * std::pow(2.0, failures - 1));
    try {
      HttpResponse response = attempt();
      if (!is_temporary(response.status)) return response;
      failure.what = response.status == 429 ? "429, too many requests"
                                            : fmt::format("the server answers {}", response.status);
      pause = std::max(pause, response.retry_after);
    } catch (const HttpFailure& exchange) {
      failure = exchange;
    }
    if (received() > before) failures = 1, pause = options_.retry_delay;
    const bool hopeless = failure.kind == HttpFailure::Kind::stopped ||
                          failure.kind == HttpFailure::Kind::untrusted ||
                          (failure.kind == HttpFailure::Kind::unreachable && !reached_);
    if (hopeless || failures > options_.retries || pause > kMaxRetryAfter) {
      if (pause > kMaxRetryAfter) {
        failure.what += ", and wants to be asked again in " + format_duration(pause) + " only";
      }
      fail_exchange(file, failure);
    }
    log_info(fmt::format("{}: {}; trying again in {:.3g} s ({} of {})", file, failure.what, pause,
                         failures, options_.retries));
    wait(pause);
  }
}

void Hub::wait(double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end) {
    if (options_.stop && options_.stop()) fail_exchange("", {HttpFailure::Kind::stopped, ""});
    std::this_thread::sleep_for(
        std::min<std::chrono::duration<double>>(end - Clock::now(), std::chrono::milliseconds(50)));
  }
}

void Hub::fail_exchange(const std::string& file, const HttpFailure& failure) const {
  switch (failure.kind) {
    case HttpFailure::Kind::stopped:
      throw Error(ErrorKind::preempted, "", "stopped",
                  "the same command goes on where this one ended");
    case HttpFailure::Kind::unreachable:
      throw Error(ErrorKind::device, options_.endpoint, "cannot be reached: " + failure.what,
                  fmt::format("check the network, name a mirror with --endpoint, or load the files "
                              "with a browser from {}/tree/{} into a folder of their own",
                              page(), options_.revision));
    case HttpFailure::Kind::untrusted:
      throw Error(ErrorKind::device, options_.endpoint, "is not trusted: " + failure.what,
                  "is the package ca-certificates installed and the clock right? SSL_CERT_FILE "
                  "names other certificates");
    case HttpFailure::Kind::broken:
      break;
  }
  throw Error(ErrorKind::device, url_of(file), failure.what,
              "try again later: the same command goes on where this one ended");
}

void Hub::refuse(const std::string& file, const HttpResponse& response) const {
  const int status = response.status;
  const std::string code = response.header("x-error-code");
  const std::string message = response.header("x-error-message").substr(0, 200);
  const std::string said =
      message.empty() ? std::to_string(status) : fmt::format("{}, \"{}\"", status, message);
  const std::string unknown = "check the name at " + options_.endpoint;
  if (code == "GatedRepo") {
    fail_input(page(), fmt::format("its licence has to be accepted first ({})", said),
               "accept it on that page, and set HF_TOKEN to a token of your account");
  }
  if (code == "RevisionNotFound") {
    fail_input(page(), fmt::format("has no revision \"{}\" ({})", options_.revision, said),
               "--revision is a branch, a tag or a commit");
  }
  if (status == 401 && options_.token.empty()) {
    fail_input(page(), fmt::format("there is no such model, or it is private ({})", said),
               unknown + "; if it is private or has a licence to accept, set HF_TOKEN");
  }
  if (status == 401 || status == 403) {
    fail_input(
        page(), fmt::format("not allowed with this HF_TOKEN ({})", said),
        "is the token valid, and may it read this model? a licence is accepted on that page");
  }
  if (status == 404 && code == "EntryNotFound") {
    fail_input(page(), fmt::format("has no {}: no model, or not in this format", file), unknown);
  }
  if (status == 404) {
    fail_input(page(), fmt::format("there is no such model, or it has no {} ({})", file, said),
               unknown);
  }
  fail_input(url_of(file), fmt::format("the server answers {}", said), "is the endpoint right?");
}

}  // namespace llm
