// Bad config.json, safetensors, checkpoints and run folders.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "support/bad_input.h"
#include "weights/zip_file.h"

namespace llm::test {
namespace {

const std::vector<std::string> kGenerate = {"generate", "run", "-p", "the", "-n", "2"};

BadCase bad_config(const std::string& name, std::vector<std::string> message,
                   const std::function<void(Json&)>& change) {
  message.emplace_back("run/config.json");
  return {"config.json: " + name, kGenerate, kInput, std::move(message),
          [change](const fs::path& sandbox) { change_json(sandbox / "run/config.json", change); }};
}

std::vector<BadCase> configs() {
  return {
      {"config.json: broken",
       kGenerate,
       kInput,
       {"run/config.json", "line 1"},
       [](const fs::path& sandbox) { write_file(sandbox / "run/config.json", "{\"n_layer\": }"); }},
      bad_config("another model", {"model_type", "\"bert\"", "gpt2"},
                 [](Json& json) { json["model_type"] = "bert"; }),
      bad_config("another activation", {"activation_function", "\"relu\"", "gelu_new"},
                 [](Json& json) { json["activation_function"] = "relu"; }),
      bad_config("no layers", {"n_layer", "0"}, [](Json& json) { json["n_layer"] = 0; }),
      bad_config("half a layer", {"n_layer"}, [](Json& json) { json["n_layer"] = 1.5; }),
      bad_config("negative context", {"n_positions", "-8"},
                 [](Json& json) { json["n_positions"] = -8; }),
      bad_config("vocabulary of text", {"vocab_size"},
                 [](Json& json) { json["vocab_size"] = "many"; }),
      bad_config("heads", {"8 channels", "3 heads"}, [](Json& json) { json["n_head"] = 3; }),
      bad_config("epsilon", {"layer_norm_epsilon"},
                 [](Json& json) { json["layer_norm_epsilon"] = -1; }),
      bad_config("key missing", {"n_embd"}, [](Json& json) { json.erase("n_embd"); }),
      bad_config("beyond 64 bits", {"n_layer"}, [](Json& json) { json["n_layer"] = 1e30; }),
      {"config.json: gigantic",
       kGenerate,
       kInput,
       {"run/model.safetensors", "1048576"},
       [](const fs::path& sandbox) {
         change_json(sandbox / "run/config.json", [](Json& json) {
           json["n_layer"] = 10'000;
           json["n_embd"] = 1 << 20;
           json["n_positions"] = 1 << 24;
         });
       }},
      {"config.json: gigantic, for pretraining",
       {"pretrain", "--data", "d", "-o", "new", "--model", "run/config.json", "--steps", "1",
        "--length", "8"},
       kMemory,
       {"needs", "free", "smaller"},
       [](const fs::path& sandbox) {
         change_json(sandbox / "run/config.json", [](Json& json) {
           json["n_layer"] = 10'000;
           json["n_embd"] = 1 << 20;
           json["n_positions"] = 1 << 24;
         });
       }},
  };
}

const char* const kWeights = "run/model.safetensors";
const char* const kNorm = "transformer.h.0.ln_1.weight";

BadCase bad_weights(const std::string& name, std::vector<std::string> message,
                    const std::function<void(const fs::path&)>& damage) {
  message.emplace_back(kWeights);
  return {"safetensors: " + name, kGenerate, kInput, std::move(message),
          [damage](const fs::path& sandbox) { damage(sandbox / kWeights); }};
}

BadCase bad_header(const std::string& name, std::vector<std::string> message,
                   const std::function<void(Json&)>& change) {
  return bad_weights(name, std::move(message),
                     [change](const fs::path& path) { change_safetensors(path, change); });
}

std::vector<BadCase> weights() {
  return {
      bad_weights("empty", {"header length"}, [](const fs::path& path) { truncate_file(path, 0); }),
      bad_weights("header cut", {"header"}, [](const fs::path& path) { truncate_file(path, 100); }),
      bad_weights("truncated", {"ends at byte", "truncated"},
                  [](const fs::path& path) { truncate_file(path, -4); }),
      bad_weights("appended", {"4 bytes after the last tensor"},
                  [](const fs::path& path) { write_file(path, read_text_file(path) + "abcd"); }),
      bad_weights(
          "header length", {"header length 9223372036854775807"},
          [](const fs::path& path) { patch_file(path, 0, "\xff\xff\xff\xff\xff\xff\xff\x7f"); }),
      bad_weights("header no JSON", {"header", "byte"},
                  [](const fs::path& path) { patch_file(path, 9, "}}}}"); }),
      bad_weights(
          "pickle", {"header"},
          [](const fs::path& path) { write_file(path, "PK\x03\x04" + std::string(100, 'x')); }),
      bad_header("overlap", {kNorm, "overlaps"},
                 [](Json& header) {
                   Json& offsets = header[kNorm]["data_offsets"];
                   offsets = {offsets[0].get<int64_t>() - 4, offsets[1].get<int64_t>() - 4};
                 }),
      bad_header("shape and bytes", {kNorm, "(9)", "36 bytes"},
                 [](Json& header) { header[kNorm]["shape"] = {9}; }),
      bad_header("shape that overflows", {kNorm, "too large"},
                 [](Json& header) {
                   header[kNorm]["shape"] = {int64_t{1} << 40, int64_t{1} << 40};
                 }),
      bad_header("negative offset", {kNorm, "negative"},
                 [](Json& header) { header[kNorm]["data_offsets"][0] = -4; }),
      bad_header("type not supported", {kNorm, "F8_E4M3"},
                 [](Json& header) { header[kNorm]["dtype"] = "F8_E4M3"; }),
      bad_header("integers", {kNorm, "floating point"},
                 [](Json& header) { header[kNorm]["dtype"] = "I32"; }),
      bad_header("another shape", {kNorm, "(2, 4)", "(8)"},
                 [](Json& header) {
                   header[kNorm]["shape"] = {2, 4};
                 }),
      bad_header("tensor missing", {kNorm, "missing"},
                 [](Json& header) {
                   header["transformer.h.0.ln_1.wait"] = header[kNorm];
                   header.erase(kNorm);
                 }),
      {"safetensors: missing",
       kGenerate,
       kInput,
       {"run: ", "config.json and model.safetensors", "checkpoints"},
       [](const fs::path& sandbox) {
         fs::remove(sandbox / kWeights);
         fs::remove_all(sandbox / "run/checkpoints");
       }},
      {"safetensors: NaN",
       kGenerate,
       kNumerics,
       {"sampling", "nan"},
       [](const fs::path& sandbox) {
         const size_t size = fs::file_size(sandbox / kWeights);
         patch_file(sandbox / kWeights, size - 4, std::string("\0\0\xc0\x7f", 4));
       }},
      {"generate: no tokenizer",
       kGenerate,
       kInput,
       {"run", "no tokenizer", "--tokenizer"},
       [](const fs::path& sandbox) { fs::remove(sandbox / "run/tokenizer.json"); }},
      {"generate: another tokenizer",
       {"generate", "run", "--tokenizer", "tok", "-p", "the"},
       kInput,
       {"token", "vocabulary of 23", "tokenizer"}},
  };
}

BadCase bad_import(const std::string& name, std::vector<std::string> message,
                   const std::string& file, const std::string& bytes) {
  message.push_back(file);
  return {"import: " + name,
          {"import", file, "-o", "new", "--heads", "1"},
          kInput,
          std::move(message),
          [file, bytes](const fs::path& sandbox) { write_file(sandbox / file, bytes); }};
}

// An archive of torch.save with this pickle and nothing else.
std::string archive_of(const std::string& pickle) {
  const fs::path path = fs::temp_directory_path() / fmt::format("llm_archive_{}", getpid());
  ZipWriter zip(path);
  zip.add("m/data.pkl", pickle);
  zip.finish();
  const std::string bytes = read_text_file(path);
  fs::remove(path);
  return bytes;
}

std::vector<BadCase> imports() {
  const auto sharded = [](const std::string& name, std::vector<std::string> message,
                          const std::string& map) {
    return BadCase{
        "shards: " + name, kGenerate, kInput, std::move(message), [map](const fs::path& sandbox) {
          fs::rename(sandbox / kWeights, sandbox / "run/a.safetensors");
          write_file(sandbox / "run/model.safetensors.index.json", "{\"weight_map\":" + map + "}");
        }};
  };
  return {
      bad_import("code in a pickle", {"posix.system", "not allowed"}, "a.pth",
                 archive_of("cposix\nsystem\n\x8c\x0ctouch hacked\x85R.")),
      bad_import("no dict in a pickle", {"no state dict"}, "a.pth", archive_of("N.")),
      bad_import("pickle without archive", {"PyTorch before 1.6"}, "a.pth",
                 std::string("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15)),
      bad_import("archive cut", {"truncated"}, "a.pth", archive_of("N.").substr(0, 90)),
      bad_import("llm.c, version", {"version 7"}, "a.bin",
                 int32_bytes(20240326) + int32_bytes(7) + std::string(1016, '\0')),
      bad_import("llm.c, cut", {"offset 8"}, "a.bin", int32_bytes(20240326) + int32_bytes(3)),
      bad_import("text", {"header"}, "a.safetensors", "this is no model"),
      bad_import("empty", {"is empty"}, "a.pth", ""),
      sharded("outside of the folder", {"index.json", "\"../a.safetensors\""},
              R"({"a":"../a.safetensors"})"),
      sharded("a folder", {"run/model.safetensors.index.json", "\"/\""}, R"({"a":"/"})"),
      sharded("not there", {"run/b.safetensors"}, R"({"a":"b.safetensors"})"),
      sharded("not listed", {"\"transformer.", "not listed"}, R"({"a":"a.safetensors"})"),
      sharded("no map", {"run/model.safetensors.index.json", "weight_map"}, "[]"),
  };
}

BadCase bad_resume(const std::string& name, const std::vector<std::string>& more, int exit_code,
                   std::vector<std::string> message,
                   const std::function<void(const fs::path&)>& damage = {}) {
  return {"resume: " + name,
          with_options({"pretrain", "--resume"}, more, {"-o", "run", "--steps", "3"}), exit_code,
          std::move(message), damage};
}

void damage_all_checkpoints(const fs::path& sandbox, const std::string& file) {
  for (const char* step : {"step_00000000", "step_00000001", "step_00000002"}) {
    const fs::path path = sandbox / "run/checkpoints" / step / file;
    if (fs::exists(path)) truncate_file(path, 10);
  }
}

std::vector<BadCase> runs() {
  return {
      bad_resume("nothing there", {"-o", "new"}, kInput, {"new", "run.json", "--resume"}),
      bad_resume("no run.json", {}, kInput, {"run", "run.json"},
                 [](const fs::path& sandbox) { fs::remove(sandbox / "run/run.json"); }),
      bad_resume("run.json broken", {}, kInput, {"run/run.json", "line"},
                 [](const fs::path& sandbox) { truncate_file(sandbox / "run/run.json", -30); }),
      bad_resume("run.json: wrong type", {}, kInput, {"run/run.json", "seed"},
                 [](const fs::path& sandbox) {
                   change_json(sandbox / "run/run.json",
                               [](Json& json) { json["options"]["seed"] = "x"; });
                 }),
      bad_resume("run.json: out of range", {}, kInput, {"run/run.json", "--lr", "-1"},
                 [](const fs::path& sandbox) {
                   change_json(sandbox / "run/run.json",
                               [](Json& json) { json["options"]["lr"] = -1; });
                 }),
      bad_resume("no checkpoints", {}, kInput, {"run", "no good checkpoint"},
                 [](const fs::path& sandbox) { fs::remove_all(sandbox / "run/checkpoints"); }),
      bad_resume("manifests broken", {}, kInput, {"run", "no good checkpoint"},
                 [](const fs::path& sandbox) { damage_all_checkpoints(sandbox, "manifest.json"); }),
      bad_resume(
          "weights cut", {}, kInput, {"run", "no good checkpoint"},
          [](const fs::path& sandbox) { damage_all_checkpoints(sandbox, "model.safetensors"); }),
      bad_resume("state out of range", {}, kInput, {"train_state.json", "updates"},
                 [](const fs::path& sandbox) {
                   const fs::path checkpoint = sandbox / "run/checkpoints/step_00000002";
                   change_json(checkpoint / "train_state.json",
                               [](Json& json) { json["updates"] = -1; });
                   renew_manifest(checkpoint);
                 }),
      bad_resume("moments misshapen", {}, kInput, {"optimizer.safetensors"},
                 [](const fs::path& sandbox) {
                   const fs::path checkpoint = sandbox / "run/checkpoints/step_00000002";
                   change_safetensors(checkpoint / "optimizer.safetensors", [](Json& header) {
                     for (auto& [name, tensor] : header.items()) {
                       if (tensor.contains("shape"))
                         tensor["shape"].insert(tensor["shape"].begin(), 1);
                     }
                   });
                   renew_manifest(checkpoint);
                 }),
      bad_resume("log broken", {}, kInput, {"run/log.jsonl, record 1"},
                 [](const fs::path& sandbox) { patch_file(sandbox / "run/log.jsonl", 0, "]"); }),
      bad_resume("other lr", {"--lr", "1"}, kUsage, {"run", "--lr", "began with 0.0006"}),
      bad_resume("other model", {"--layers", "2"}, kUsage, {"run", "--layers", "began with 1"}),
      bad_resume("other seed", {"--seed", "7"}, kUsage, {"run", "--seed", "began with 42"}),
      bad_resume("steps done already", {"--steps", "1"}, kUsage, {"--steps", "1", "2"}),
      bad_resume("other data", {}, kUsage, {"run", "--data", "began with"},
                 [](const fs::path& sandbox) {
                   change_json(sandbox / "run/run.json",
                               [](Json& json) { json["data"][0]["hash"] = std::string(64, '0'); });
                 }),
      bad_resume("locked", {}, kUsage, {"run", "in use by another process"},
                 [](const fs::path& sandbox) {
                   // Held until the next case: the child inherits nothing of it.
                   static int held = -1;
                   if (held >= 0) close(held);
                   held = open((sandbox / "run/.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
                   flock(held, LOCK_EX);
                 }),
  };
}

}  // namespace

std::vector<BadCase> bad_model_files() {
  std::vector<BadCase> all;
  for (const auto& part : {configs(), weights(), imports(), runs()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace llm::test
