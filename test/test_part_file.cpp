// Beginnings of files, and what continues them.
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/expect_error.h"
#include "support/fake_hub.h"
#include "support/temporary_directory.h"
#include "weights/part_file.h"

namespace llm {
namespace {

RemoteFile remote(const std::string& bytes, HashKind kind = HashKind::sha256) {
  RemoteFile file;
  file.name = "model.safetensors";
  file.size = static_cast<int64_t>(bytes.size());
  file.hash_kind = kind;
  file.hash = kind == HashKind::sha256 ? sha256_of(as_bytes(bytes)) : test::git_blob_hash(bytes);
  file.etag = file.hash;
  return file;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

class PartFileTest : public testing::Test {
 protected:
  test::TemporaryDirectory folder_;
  inline static const std::string bytes_ = test::noise(1'200'000);
  inline static const RemoteFile file_ = remote(bytes_);
  const fs::path target_ = folder_ / "model.safetensors";

  void write_beginning(size_t size) {
    PartFile part(folder_.path(), file_);
    part.write(as_bytes(bytes_).first(size));
  }
};

TEST_F(PartFileTest, BecomesTheFile) {
  PartFile part(folder_.path(), file_);
  EXPECT_FALSE(part.resumed());
  for (size_t at = 0; at < bytes_.size(); at += 12'345) {
    part.write(as_bytes(std::string_view(bytes_).substr(at, 12'345)));
  }
  EXPECT_TRUE(part.finish());
  EXPECT_FALSE(fs::exists(target_));
  part.rename();
  EXPECT_TRUE(read_text_file(target_) == bytes_);
  EXPECT_EQ(names_in(folder_.path()).size(), 1u);
}

TEST_F(PartFileTest, GoesOnWhereAnotherEnded) {
  for (const size_t cut : {1, 1000, 1'048'576, 1'199'999, 1'200'000}) {
    write_beginning(cut);
    EXPECT_EQ(PartFile::bytes_there(folder_.path(), file_), static_cast<int64_t>(cut));
    PartFile part(folder_.path(), file_);
    EXPECT_TRUE(part.resumed());
    ASSERT_EQ(part.size(), static_cast<int64_t>(cut));
    part.write(as_bytes(bytes_).subspan(cut));
    EXPECT_TRUE(part.finish());
    part.rename();
    EXPECT_TRUE(read_text_file(target_) == bytes_);
  }
}

TEST_F(PartFileTest, ADamagedBeginningIsNoticed) {
  write_beginning(1000);
  {
    FileWriter writer(folder_ / ("model.safetensors." + file_.etag + ".part"));
    writer.write(std::string(1000, 'x'));
    writer.close();
  }
  PartFile part(folder_.path(), file_);
  part.write(as_bytes(bytes_).subspan(1000));
  EXPECT_FALSE(part.finish());
  EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(PartFileTest, RestartForgets) {
  write_beginning(1000);
  PartFile part(folder_.path(), file_);
  part.restart();
  EXPECT_FALSE(part.resumed());
  EXPECT_EQ(part.size(), 0);
  part.write(as_bytes(bytes_));
  EXPECT_TRUE(part.finish());
}

TEST_F(PartFileTest, PartsOfOtherBytesAreRemoved) {
  write_beginning(1000);
  std::ofstream(folder_ / "model.safetensors.index.json.abc.part") << "of another file";
  const RemoteFile changed = remote(bytes_ + "more");
  PartFile part(folder_.path(), changed);
  EXPECT_EQ(part.size(), 0);
  EXPECT_EQ(names_in(folder_.path()).size(), 2u);
}

TEST_F(PartFileTest, WithoutAnEtagItStartsAnew) {
  for (const char* etag : {"", "../../etc/passwd", "a b"}) {
    RemoteFile file = file_;
    file.etag = etag;
    for (int i = 0; i < 2; ++i) {
      PartFile part(folder_.path(), file);
      EXPECT_EQ(part.size(), 0) << etag;
      part.write(as_bytes(bytes_).first(10));
    }
    EXPECT_EQ(names_in(folder_.path()), std::vector<std::string>{"model.safetensors.part"});
  }
}

TEST_F(PartFileTest, APartThatIsTooLongIsDropped) {
  write_beginning(1'200'000);
  RemoteFile file = file_;
  file.size = 1000;
  EXPECT_EQ(PartFile(folder_.path(), file).size(), 0);
}

TEST_F(PartFileTest, SameContent) {
  std::ofstream(target_) << bytes_;
  RemoteFile file = file_;
  EXPECT_TRUE(is_same_content(target_, file, ""));
  EXPECT_TRUE(is_same_content(target_, remote(bytes_, HashKind::git_blob), ""));
  file.hash[5] ^= 1;
  EXPECT_FALSE(is_same_content(target_, file, file_.hash)) << "the server's hash counts";
  file.hash_kind = HashKind::none;
  EXPECT_TRUE(is_same_content(target_, file, file_.hash));
  EXPECT_FALSE(is_same_content(target_, file, file.hash));
  EXPECT_FALSE(is_same_content(target_, file, "")) << "a size says nothing of the bytes";
  ++file.size;
  EXPECT_FALSE(is_same_content(target_, file, file_.hash));
  EXPECT_FALSE(is_same_content(folder_ / "absent", file_, ""));
  EXPECT_FALSE(is_same_content(folder_.path(), file_, ""));
}

TEST_F(PartFileTest, WithoutAHashItTellsItsOwn) {
  RemoteFile file = file_;
  file.hash_kind = HashKind::none;
  file.hash.clear();
  PartFile part(folder_.path(), file);
  part.write(as_bytes(bytes_));
  EXPECT_TRUE(part.finish());
  EXPECT_EQ(part.digest(), sha256_of(as_bytes(bytes_)));
}

}  // namespace
}  // namespace llm
