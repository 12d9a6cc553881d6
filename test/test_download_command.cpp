// llm download as a process.
#include <gtest/gtest.h>
#include <signal.h>

#include "base/file.h"
#include "base/json.h"
#include "support/fake_hub.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"

namespace llm {
namespace {

using test::ProcessResult;
using test::ServedReply;
using test::ServedRequest;

class DownloadCommand : public testing::Test {
 protected:
  ProcessResult run(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
    test::ProcessOptions options;
    options.environment = std::move(environment);
    options.environment.push_back("LLM_HOME=" + home_.path().string());
    options.environment.push_back("no_proxy=127.0.0.1");
    options.directory = home_.path().string();
    return test::run_llm(std::move(arguments), options);
  }
  // The tiny GPT-2 with a byte tokenizer, as `gpt2` of the hub.
  void serve_tiny_model() {
    const fs::path golden = fs::path(LLM_SOURCE_DIR) / "test/golden/tiny_gpt2";
    for (const char* name : {"config.json", "generation_config.json"}) {
      server_.set_file(name, {.bytes = read_text_file(golden / name)});
    }
    server_.set_file("model.safetensors",
                     {.bytes = read_text_file(golden / "model.safetensors"), .large = true});
    server_.remove_file("tokenizer.json");
  }

  test::FakeHub server_;
  test::TemporaryDirectory home_;
};

TEST_F(DownloadCommand, ThenTheModelIsKnownByName) {
  serve_tiny_model();
  const ProcessResult missing = run({"inspect", "gpt2"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_NE(missing.err.find("`llm download gpt2` brings it"), std::string::npos) << missing.err;

  const ProcessResult result = run({"download", "gpt2", "--endpoint", server_.url(), "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const Json json =
      parse_json(result.out.substr(result.out.rfind('\n', result.out.size() - 2) + 1), "stdout");
  EXPECT_EQ(json["folder"], (home_ / "models/gpt2").string());
  EXPECT_EQ(json["files"], 3);
  EXPECT_NE(result.err.find("neither tokenizer.json"), std::string::npos) << result.err;

  EXPECT_EQ(run({"inspect", "gpt2"}).exit_code, 0);
  // Its vocabulary has 31 tokens, so of the bytes only control characters fit.
  const ProcessResult text = run({"generate", "gpt2", "-p", "\n", "-n", "4", "--tokenizer", "bytes",
                                  "--temperature", "0", "--device", "cpu"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_NE(text.err.find("decode"), std::string::npos) << text.err;
}

TEST_F(DownloadCommand, SaysWhereOnlySizesWereChecked) {
  serve_tiny_model();
  const ProcessResult hashed = run({"download", "gpt2", "--endpoint", server_.url()});
  EXPECT_EQ(hashed.exit_code, 0) << hashed.err;
  EXPECT_EQ(hashed.out.find("only sizes"), std::string::npos) << hashed.out;
  server_.change_replies([](const ServedRequest&, ServedReply& reply) {
    if (reply.status == 200) reply.headers.clear();
  });
  server_.set_file("model.safetensors", {.bytes = server_.bytes_of("model.safetensors")});
  const std::string out = home_ / "here";
  for (const char* fetched : {"fetched in", "all there already"}) {
    const ProcessResult result = run({"download", "gpt2", "--endpoint", server_.url(), "-o", out});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_NE(result.out.find(fetched), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("only sizes were checked of 3 files"), std::string::npos)
        << result.out;
  }
}

TEST_F(DownloadCommand, TakesEndpointAndTokenFromTheEnvironment) {
  server_.token = "hf_secret";
  const std::string out = home_ / "here";
  const ProcessResult refused =
      run({"download", "gpt2", "-o", out}, {"HF_ENDPOINT=" + server_.url(), "HF_TOKEN="});
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_NE(refused.err.find("set HF_TOKEN"), std::string::npos) << refused.err;
  const ProcessResult result = run({"download", "gpt2", "-o", out},
                                   {"HF_ENDPOINT=" + server_.url() + "/", "HF_TOKEN= hf_secret\n"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err.find("hf_secret"), std::string::npos);
  EXPECT_TRUE(fs::exists(home_ / "here/model.safetensors"));
  EXPECT_NE(result.err.find("cannot read this model yet"), std::string::npos) << result.err;
}

TEST_F(DownloadCommand, RefusesWrongArguments) {
  const auto refused = [&](std::vector<std::string> arguments, const std::string& part) {
    arguments.insert(arguments.begin(), "download");
    const ProcessResult result = run(std::move(arguments));
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  };
  refused({}, "MODEL");
  refused({"a/b/c"}, "is no name of a model");
  refused({"../x"}, "is no name of a model");
  refused({"gpt2", "--endpoint", "nowhere"}, "is no address");
  refused({"gpt2", "--revision", "v2"}, "give another folder with -o");
  refused({"gpt2", "--timeout", "0"}, "--timeout");
  refused({"gpt2", "--retry-delay", "nan"}, "--retry-delay");
  refused({"gpt2", "--retries", "-1"}, "--retries");
}

TEST_F(DownloadCommand, Offline) {
  const std::string endpoint = "http://127.0.0.1:" + std::to_string(test::closed_port());
  const ProcessResult result = run({"download", "gpt2", "--endpoint", endpoint});
  EXPECT_EQ(result.exit_code, 6);
  EXPECT_NE(result.err.find("cannot be reached"), std::string::npos) << result.err;
  EXPECT_LT(result.seconds, 10);
  EXPECT_FALSE(fs::exists(home_ / "models"));
}

TEST_F(DownloadCommand, InterruptedItGoesOn) {
  server_.change_replies([](const ServedRequest& request, ServedReply& reply) {
    if (!request.path.starts_with("/storage/")) return;
    reply.cut_after = 60'000;
    reply.stall_seconds = 60;
  });
  // The shell sends Ctrl-C's signal to the program as soon as the part is there.
  const std::string script =
      "\"$0\" download gpt2 --endpoint \"$1\" & llm=$!; "
      "for i in $(seq 500); do ls \"$2\"/*.part >/dev/null 2>&1 && break; sleep 0.02; done; "
      "sleep 1; kill -INT $llm; wait $llm";
  test::ProcessOptions options;
  options.environment = {"LLM_HOME=" + home_.path().string(), "no_proxy=127.0.0.1"};
  const ProcessResult result = test::run_process(
      {"bash", "-mc", script, LLM_BINARY_PATH, server_.url(), home_ / "models/gpt2"}, options);
  EXPECT_EQ(result.exit_code, 75) << result.err;
  EXPECT_NE(result.err.find("the same command goes on"), std::string::npos) << result.err;
  server_.change_replies({});
  server_.storage().forget_requests();
  EXPECT_EQ(run({"download", "gpt2", "--endpoint", server_.url()}).exit_code, 0);
  ASSERT_EQ(server_.storage().requests().size(), 1u);
  EXPECT_EQ(server_.storage().requests()[0].header("range"), "bytes=60000-");
}

}  // namespace
}  // namespace llm
