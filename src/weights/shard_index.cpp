// Models in several safetensors files.
#include <fmt/format.h>

#include <set>

#include "base/downloads.h"
#include "base/error.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

constexpr JsonLimits kIndexLimits = {
    .max_depth = 8, .max_bytes = 16 << 20, .max_values = 1'000'000};
constexpr size_t kMaxShards = 10'000;
constexpr const char* kDamagedFolder = "damaged or incomplete: copy or download the folder again";

// A plain name of a file beside the index, which may come from a server: nothing that leads out of
// the folder or means something in a URL.
bool is_shard_name(const std::string& name) {
  return is_plain_text(name) && !name.starts_with('.') && name.ends_with(".safetensors") &&
         name.size() <= 120;
}

void compare_shard(const std::string& shard, const std::vector<std::string>& listed,
                   const SafetensorsHeader& header, const std::string& where) {
  std::set<std::string> missing(listed.begin(), listed.end());
  for (const TensorInfo& info : header.tensors) {
    if (missing.erase(info.name) == 0) {
      fail_input(where, fmt::format("tensor {} of {} is not listed there", quoted_name(info.name),
                                    quoted_name(shard)));
    }
  }
  if (!missing.empty()) {
    fail_input(where, fmt::format("tensor {} is not in {}", quoted_name(*missing.begin()),
                                  quoted_name(shard)));
  }
}

TensorSource open_shards(const fs::path& index) {
  const std::string where = index.string();
  std::vector<MappedFile> files;
  std::vector<SourceTensor> tensors;
  const ShardIndex shards = parse_shard_index(read_text_file(index, kIndexLimits.max_bytes), where);
  for (const auto& [shard, listed] : shards) {
    const fs::path path = index.parent_path() / shard;
    const Bytes bytes = files.emplace_back(path).bytes();
    const SafetensorsHeader header = parse_safetensors(bytes, path.string());
    compare_shard(shard, listed, header, where);
    const auto more = tensors_of(header, bytes, path.string());
    tensors.insert(tensors.end(), more.begin(), more.end());
  }
  return TensorSource(where, std::move(files), std::move(tensors));
}

}  // namespace

ShardIndex parse_shard_index(std::string_view text, const std::string& where) {
  const Json json = parse_json(text, where, kIndexLimits);
  const JsonObject map = JsonObject(json, where).object("weight_map");
  ShardIndex shards;
  for (const auto& [tensor, shard] : map.json().items()) {
    if (!shard.is_string() || !is_shard_name(shard.get_ref<const std::string&>())) {
      const std::string shown =
          shard.is_string() ? quoted_name(shard.get_ref<const std::string&>()) : shard.type_name();
      fail_input(where, fmt::format("tensor {} is said to be in {}, which is no name of a "
                                    ".safetensors file in this folder",
                                    quoted_name(tensor), shown));
    }
    shards[shard.get_ref<const std::string&>()].push_back(tensor);
    if (shards.size() > kMaxShards) {
      fail_input(where, fmt::format("more than {} files", with_commas(kMaxShards)));
    }
  }
  if (shards.empty()) fail_input(where, "\"weight_map\" is empty");
  return shards;
}

TensorSource open_sharded_safetensors(const fs::path& index) {
  return with_hint(kDamagedFolder, [&] { return open_shards(index); });
}

}  // namespace llm
