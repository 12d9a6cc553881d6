// The layout of the sources: which room may use which, where foreign headers live, how long a file
// may be. README and DESIGN tell why.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace llm {
namespace {

namespace fs = std::filesystem;

// In the order in which data flows: each may use itself and those before it.
constexpr std::array<std::string_view, 9> kRooms = {"base",    "text",  "data",  "backend", "model",
                                                    "weights", "infer", "train", "cli"};

constexpr int kMaxLines = 400;

int room_index(std::string_view room) {
  const auto found = std::find(kRooms.begin(), kRooms.end(), room);
  return found == kRooms.end() ? -1 : static_cast<int>(found - kRooms.begin());
}

std::string_view first_folder(std::string_view path) { return path.substr(0, path.find('/')); }

bool is_cuda_header(std::string_view header) {
  for (const std::string_view prefix : {"cuda", "cublas", "cudnn", "nccl", "cub/", "nvtx", "nvml",
                                        "thrust/", "cutlass", "device_launch"}) {
    if (header.starts_with(prefix)) return true;
  }
  return false;
}

// What is wrong with an include of `header` in `file` (relative to the repository); empty if
// nothing is.
std::string problem_with(const std::string& file, std::string_view header, bool quoted) {
  const std::string_view top = first_folder(file);
  const bool shared = top == "src" || file == "llm.cpp";
  if (header == "mpi.h" && file != "src/backend/mpi_comm.cpp") {
    return "MPI belongs into src/backend/mpi_comm.cpp";
  }
  if (header.starts_with("curl/") && file != "src/weights/http_client.cpp") {
    return "libcurl belongs into src/weights/http_client.cpp";
  }
  // Each library of NVIDIA's but the runtime in one file of cuda/.
  constexpr std::array<std::array<std::string_view, 2>, 4> kOwners = {
      {{"cublas", "cuda/matmul_handles.h"},
       {"cudnn", "cuda/cudnn_attention.cpp"},
       {"nccl.h", "cuda/nccl_comm.cpp"},
       {"cub/", "cuda/embedding.cu"}}};
  for (const auto& [library, owner] : kOwners) {
    if (!quoted && header.starts_with(library) && file != owner) {
      return std::string(library) + " belongs into " + std::string(owner);
    }
  }
  if (!quoted) {
    if (shared && is_cuda_header(header)) return "no CUDA or NCCL header in src/";
    return {};
  }
  if (header.find("..") != std::string_view::npos) return "no path that goes up";
  const std::string_view room = first_folder(header);
  if (top == "cpu_ref" || top == "cuda") {
    const bool allowed = room == "base" || room == "backend" || room == top;
    return allowed ? "" : "only base/, backend/ and its own folder";
  }
  if (file == "llm.cpp") {
    return room == "base" || room == "cli" ? "" : "llm.cpp uses base/ and cli/";
  }
  if (top != "src") return {};
  const std::string_view own = first_folder(std::string_view(file).substr(4));
  if (own == "cli" && (header == "cpu_ref/cpu_backend.h" || header == "cuda/cuda_backend.h")) {
    return {};  // the one place that chooses the device
  }
  if (room_index(own) < 0) return "no such room";
  if (room_index(room) < 0) return "includes start with the name of a room";
  if (room_index(room) > room_index(own)) return "a room uses only rooms before it";
  return {};
}

struct Include {
  std::string header;
  bool quoted;
};

std::vector<Include> includes_of(const fs::path& path) {
  std::vector<Include> result;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("#include ")) continue;
    const size_t open = line.find_first_of("<\"");
    if (open == std::string::npos) continue;
    const bool quoted = line[open] == '"';
    const size_t close = line.find(quoted ? '"' : '>', open + 1);
    result.push_back({line.substr(open + 1, close - open - 1), quoted});
  }
  return result;
}

// All sources of the project, relative to its folder.
std::vector<std::string> sources() {
  const fs::path root = LLM_SOURCE_DIR;
  std::vector<std::string> result = {"llm.cpp"};
  for (const char* folder : {"src", "cpu_ref", "cuda", "test"}) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension();
      for (const char* known : {".h", ".cpp", ".cc", ".cu", ".cuh"}) {
        if (extension == known) result.push_back(fs::relative(entry.path(), root));
      }
    }
  }
  std::sort(result.begin(), result.end());
  return result;
}

TEST(Layers, RoomsUseOnlyRoomsBeforeThem) {
  int includes = 0;
  for (const std::string& file : sources()) {
    for (const Include& include : includes_of(fs::path(LLM_SOURCE_DIR) / file)) {
      EXPECT_EQ(problem_with(file, include.header, include.quoted), "")
          << file << " includes " << include.header;
      ++includes;
    }
  }
  EXPECT_GT(includes, 100);
}

TEST(Layers, FilesFitASitting) {
  for (const std::string& file : sources()) {
    std::ifstream stream(fs::path(LLM_SOURCE_DIR) / file);
    const auto lines = std::count(std::istreambuf_iterator<char>(stream), {}, '\n');
    EXPECT_LE(lines, kMaxLines) << file;
  }
}

TEST(Layers, HeadersAreIncludedOnce) {
  for (const std::string& file : sources()) {
    if (!file.ends_with(".h") && !file.ends_with(".cuh")) continue;
    std::ifstream stream(fs::path(LLM_SOURCE_DIR) / file);
    const std::string text(std::istreambuf_iterator<char>(stream), {});
    EXPECT_NE(text.find("\n#pragma once\n"), std::string::npos) << file;
  }
}

TEST(Layers, TheRulesFindWhatIsWrong) {
  const auto refused = [](const char* file, const char* header, bool quoted) {
    return !problem_with(file, header, quoted).empty();
  };
  EXPECT_TRUE(refused("src/base/error.cpp", "text/tokenizer.h", true));
  EXPECT_TRUE(refused("src/model/gpt.cpp", "train/trainer.h", true));
  EXPECT_TRUE(refused("src/model/gpt.cpp", "cpu_ref/cpu_backend.h", true));
  EXPECT_TRUE(refused("src/model/gpt.cpp", "gpt.h", true));
  EXPECT_TRUE(refused("src/model/gpt.cpp", "../base/error.h", true));
  EXPECT_TRUE(refused("src/train/trainer.cpp", "cuda_runtime.h", false));
  EXPECT_TRUE(refused("src/train/trainer.cpp", "nccl.h", false));
  EXPECT_TRUE(refused("src/train/trainer.cpp", "mpi.h", false));
  EXPECT_TRUE(refused("cuda/gelu.cu", "cub/cub.cuh", false));
  EXPECT_TRUE(refused("cuda/linear.cpp", "cublasLt.h", false));
  EXPECT_TRUE(refused("cpu_ref/layernorm.cpp", "model/gpt.h", true));
  EXPECT_TRUE(refused("cuda/layernorm.cu", "cpu_ref/layernorm.h", true));
  EXPECT_TRUE(refused("llm.cpp", "train/trainer.h", true));

  EXPECT_FALSE(refused("src/model/gpt.cpp", "model/gpt.h", true));
  EXPECT_FALSE(refused("src/train/trainer.cpp", "backend/backend.h", true));
  EXPECT_FALSE(refused("src/backend/mpi_comm.cpp", "mpi.h", false));
  EXPECT_FALSE(refused("src/cli/pretrain_command.cpp", "cpu_ref/cpu_backend.h", true));
  EXPECT_FALSE(refused("cuda/layernorm.cu", "cuda_runtime.h", false));
  EXPECT_FALSE(refused("cpu_ref/layernorm.cpp", "backend/tensor.h", true));
}

}  // namespace
}  // namespace llm
