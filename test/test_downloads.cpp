// Names of models, the download folder, and how commands find models and tokenizers by name.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <map>

#include "base/downloads.h"
#include "base/error.h"
#include "support/expect_error.h"
#include "support/temporary_directory.h"
#include "text/tokenizer.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

// Environment variables that are put back at the end.
class Environment {
 public:
  void set(const char* name, const char* value) {  // null: unset
    const char* before = getenv(name);
    before_.try_emplace(name,
                        before == nullptr ? std::nullopt : std::optional<std::string>(before));
    value == nullptr ? unsetenv(name) : setenv(name, value, 1);
  }
  ~Environment() {
    for (const auto& [name, value] : before_) {
      value ? setenv(name.c_str(), value->c_str(), 1) : unsetenv(name.c_str());
    }
  }

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

TEST(Downloads, NamesOfModels) {
  for (const char* name : {"gpt2", "gpt2-xl", "openai-community/gpt2", "a.b_c-1/D.2", "_"}) {
    EXPECT_TRUE(is_model_name(name)) << name;
  }
  for (const char* name :
       {"",   "/",    "a/",  "/a",   "a/b/c", "..",  "../a", "a/..", ".a",       "a/.b",
        "-a", "a/-b", "a b", "a\\b", "a%2fb", "a?b", "a#b",  "a:b",  "\xc3\xa4", "a\n"}) {
    EXPECT_FALSE(is_model_name(name)) << name;
  }
  EXPECT_FALSE(is_model_name(std::string(97, 'a')));
}

TEST(Downloads, ShortNames) {
  EXPECT_EQ(short_model_name("openai-community/gpt2-large"), "gpt2-large");
  EXPECT_EQ(short_model_name("gpt2"), "gpt2");
  EXPECT_EQ(short_model_name("openai-community/openai-gpt"), "openai-community/openai-gpt");
  EXPECT_EQ(short_model_name("somebody/gpt2"), "somebody/gpt2");
  EXPECT_TRUE(has_short_name("gpt2-medium"));
  EXPECT_TRUE(has_short_name("openai-community/gpt2-xl"));
  EXPECT_FALSE(has_short_name("somebody/gpt2"));
}

TEST(Downloads, TheFolderIsWhereTheEnvironmentSays) {
  Environment environment;
  environment.set("HOME", "/h");
  environment.set("XDG_DATA_HOME", "/d");
  environment.set("LLM_HOME", "/l");
  EXPECT_EQ(downloads_folder(), "/l/models");
  environment.set("LLM_HOME", "");
  EXPECT_EQ(downloads_folder(), "/d/llm/models");
  environment.set("XDG_DATA_HOME", "relative");
  EXPECT_EQ(downloads_folder(), "/h/.local/share/llm/models");
  EXPECT_EQ(downloaded_model_folder("openai-community/gpt2"), "/h/.local/share/llm/models/gpt2");
  EXPECT_EQ(downloaded_model_folder("a/b"), "/h/.local/share/llm/models/a/b");
  EXPECT_EQ(downloaded_model_folder("../b"), std::nullopt);
  environment.set("HOME", nullptr);
  EXPECT_EQ(downloads_folder(), std::nullopt);
  EXPECT_EQ(downloaded_model_folder("gpt2"), std::nullopt);
}

class ModelsByName : public testing::Test {
 protected:
  void SetUp() override {
    environment_.set("LLM_HOME", home_.path().c_str());
    // Names are looked up as paths first: in a folder where nothing is called so.
    before_ = fs::current_path();
    fs::create_directory(home_ / "elsewhere");
    fs::current_path(home_ / "elsewhere");
  }
  void TearDown() override { fs::current_path(before_); }

  void put_model(const fs::path& folder) {
    fs::create_directories(folder.parent_path());
    fs::copy(fs::path(LLM_SOURCE_DIR) / "test/golden/tiny_gpt2", folder,
             fs::copy_options::recursive);
  }
  fs::path place(const std::string& name) const { return home_.path() / "models" / name; }

  test::TemporaryDirectory home_;
  Environment environment_;
  fs::path before_;
};

TEST_F(ModelsByName, AreFoundInTheDownloadFolder) {
  put_model(place("gpt2"));
  put_model(place("somebody/small"));
  EXPECT_EQ(resolve_model_folder("gpt2"), place("gpt2"));
  EXPECT_EQ(resolve_model_folder("openai-community/gpt2"), place("gpt2"));
  EXPECT_EQ(resolve_model_folder("somebody/small"), place("somebody/small"));
}

TEST_F(ModelsByName, AFolderOfThatNameComesFirst) {
  put_model(place("gpt2"));
  fs::create_directory("gpt2");  // without a model, such as one with a tokenizer
  EXPECT_EQ(resolve_model_folder("gpt2"), place("gpt2"));
  fs::remove_all("gpt2");
  put_model(fs::current_path() / "gpt2");
  EXPECT_EQ(resolve_model_folder("gpt2"), "gpt2");
}

TEST_F(ModelsByName, AMissingOneNamesTheCommandThatBringsIt) {
  const auto resolve = [](const char* name) { return [name] { resolve_model_folder(name); }; };
  test::expect_error(ErrorKind::input, "`llm download gpt2-medium` brings it",
                     resolve("gpt2-medium"));
  test::expect_error(ErrorKind::input, "`llm download somebody/small` brings",
                     resolve("somebody/small"));
  test::expect_error(ErrorKind::input, "MODEL is a model folder", resolve("my-model"));
  test::expect_error(ErrorKind::input, "MODEL is a model folder", resolve("runs/../mine"));
  fs::create_directories(place("gpt2-xl"));
  write_file_atomically(place("gpt2-xl") / kDownloadRecord, "{}");
  test::expect_error(ErrorKind::input, "not complete (`llm download gpt2-xl` goes on with it)",
                     resolve("gpt2-xl"));
}

TEST_F(ModelsByName, GiveTheirTokenizer) {
  test::expect_error(ErrorKind::usage, "`llm download gpt2`", [] { open_tokenizer("gpt2", ""); });
  fs::create_directories(place("gpt2"));
  make_byte_tokenizer()->save(place("gpt2"));
  EXPECT_EQ(open_tokenizer("gpt2", "")->hash(), make_byte_tokenizer()->hash());
}

}  // namespace
}  // namespace llm
