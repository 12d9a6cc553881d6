// Which algorithms a product has, and their numbers.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "cuda/matmul_handles.h"

namespace llm::cuda {
namespace {

// The attributes behind MatmulAlgorithm::numbers, in its order.
struct AlgorithmAttribute {
  cublasLtMatmulAlgoConfigAttributes_t attribute;
  size_t bytes;
};
constexpr AlgorithmAttribute kAttributes[MatmulAlgorithm::kNumbers] = {
    {CUBLASLT_ALGO_CONFIG_ID, 4},
    {CUBLASLT_ALGO_CONFIG_TILE_ID, 4},
    {CUBLASLT_ALGO_CONFIG_SPLITK_NUM, 4},
    {CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, 4},
    {CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, 4},
    {CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, 4},
    {CUBLASLT_ALGO_CONFIG_STAGES_ID, 4},
    {CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, 2},
    {CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, 2},
};
enum Number { kId, kTile, kSplits, kReduction, kSwizzle, kCustom, kStages, kInner, kCluster };

// Sums in a fixed order: in one piece, or pieces that are written as f32 and added up afterwards.
// The scheme "in place" lets blocks add to the output in the order in which they finish, "output
// type" rounds the pieces to bf16.
constexpr uint32_t kReductions =
    CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;

// The library does not survive every number that a damaged file may hold: these are checked before
// it sees them.
bool in_range(const MatmulAlgorithm& algorithm) {
  constexpr int64_t kEnds[MatmulAlgorithm::kNumbers] = {
      1 << 16,  // of the ids; the library is asked which there are
      CUBLASLT_MATMUL_TILE_END,
      1 << 10,
      CUBLASLT_REDUCTION_SCHEME_MASK + 1,
      2,
      1 << 16,  // of the options; the library is asked which the kernel has
      CUBLASLT_MATMUL_STAGES_END,
      CUBLASLT_MATMUL_INNER_SHAPE_END,
      CUBLASLT_CLUSTER_SHAPE_END};
  for (int i = 0; i < MatmulAlgorithm::kNumbers; ++i) {
    if (algorithm.numbers[i] < 0 || algorithm.numbers[i] >= kEnds[i]) return false;
  }
  return true;
}

// One of the values that the kernel says it has for an attribute; a kernel that has none takes 0.
bool is_listed(const cublasLtMatmulAlgo_t& raw, cublasLtMatmulAlgoCapAttributes_t list,
               int64_t number) {
  if (number == 0) return true;
  std::array<uint32_t, CUBLASLT_MATMUL_TILE_END> values{};
  size_t written = 0;
  if (cublasLtMatmulAlgoCapGetAttribute(&raw, list, values.data(), sizeof values, &written) !=
      CUBLAS_STATUS_SUCCESS) {
    return false;
  }
  const auto end = values.begin() + written / sizeof values[0];
  return std::find(values.begin(), end, number) != end;
}

bool has_option(const cublasLtMatmulAlgo_t& raw, int64_t option) {
  int32_t last = 0;
  size_t written = 0;
  return cublasLtMatmulAlgoCapGetAttribute(&raw, CUBLASLT_ALGO_CAP_CUSTOM_OPTION_MAX, &last,
                                           sizeof last, &written) == CUBLAS_STATUS_SUCCESS &&
         option <= last;
}

// What a search tries: large tiles, as the products that take time have large results.
constexpr int64_t kTiles[] = {
    CUBLASLT_MATMUL_TILE_128x96,  CUBLASLT_MATMUL_TILE_128x112, CUBLASLT_MATMUL_TILE_128x128,
    CUBLASLT_MATMUL_TILE_128x144, CUBLASLT_MATMUL_TILE_128x160, CUBLASLT_MATMUL_TILE_128x176,
    CUBLASLT_MATMUL_TILE_128x192, CUBLASLT_MATMUL_TILE_128x208, CUBLASLT_MATMUL_TILE_128x224,
    CUBLASLT_MATMUL_TILE_128x240, CUBLASLT_MATMUL_TILE_128x256, CUBLASLT_MATMUL_TILE_192x64,
    CUBLASLT_MATMUL_TILE_192x80,  CUBLASLT_MATMUL_TILE_192x96,  CUBLASLT_MATMUL_TILE_192x112,
    CUBLASLT_MATMUL_TILE_192x128, CUBLASLT_MATMUL_TILE_192x144, CUBLASLT_MATMUL_TILE_192x160,
    CUBLASLT_MATMUL_TILE_192x176, CUBLASLT_MATMUL_TILE_192x192, CUBLASLT_MATMUL_TILE_256x64,
    CUBLASLT_MATMUL_TILE_256x80,  CUBLASLT_MATMUL_TILE_256x96,  CUBLASLT_MATMUL_TILE_256x112,
    CUBLASLT_MATMUL_TILE_256x128, CUBLASLT_MATMUL_TILE_256x144, CUBLASLT_MATMUL_TILE_256x160,
    CUBLASLT_MATMUL_TILE_256x176, CUBLASLT_MATMUL_TILE_256x192, CUBLASLT_MATMUL_TILE_64x128,
    CUBLASLT_MATMUL_TILE_64x192,  CUBLASLT_MATMUL_TILE_64x256};
constexpr int64_t kClusters[] = {CUBLASLT_CLUSTER_SHAPE_1x1x1, CUBLASLT_CLUSTER_SHAPE_2x1x1,
                                 CUBLASLT_CLUSTER_SHAPE_1x2x1, CUBLASLT_CLUSTER_SHAPE_2x2x1,
                                 CUBLASLT_CLUSTER_SHAPE_4x1x1, CUBLASLT_CLUSTER_SHAPE_1x4x1};
constexpr int64_t kOptions = 8;
constexpr int64_t kMostSplits = 8;

int64_t number_of(const cublasLtMatmulAlgo_t& raw, int which) {
  uint32_t value32 = 0;
  uint16_t value16 = 0;
  const auto [attribute, bytes] = kAttributes[which];
  void* value = bytes == 4 ? static_cast<void*>(&value32) : &value16;
  size_t written = 0;
  if (cublasLtMatmulAlgoConfigGetAttribute(&raw, attribute, value, bytes, &written) !=
      CUBLAS_STATUS_SUCCESS) {
    return 0;
  }
  return bytes == 4 ? value32 : value16;
}

bool set_number(cublasLtMatmulAlgo_t& raw, int which, int64_t number) {
  const auto [attribute, bytes] = kAttributes[which];
  if (number < 0 || number >> (8 * bytes) != 0) return false;
  const auto value32 = static_cast<uint32_t>(number);
  const auto value16 = static_cast<uint16_t>(number);
  const void* value = bytes == 4 ? static_cast<const void*>(&value32) : &value16;
  return cublasLtMatmulAlgoConfigSetAttribute(&raw, attribute, value, bytes) ==
         CUBLAS_STATUS_SUCCESS;
}

MatmulAlgorithm numbers_of(const cublasLtMatmulAlgo_t& raw) {
  MatmulAlgorithm algorithm;
  for (int i = 0; i < MatmulAlgorithm::kNumbers; ++i) algorithm.numbers[i] = number_of(raw, i);
  return algorithm;
}

}  // namespace

std::string MatmulAlgorithm::text() const {
  std::string text;
  for (int i = 0; i < kNumbers; ++i) {
    if (numbers[i] != 0) text += fmt::format("{}{} {}", i == 0 ? "" : " ", kNames[i], numbers[i]);
  }
  return text;
}

bool Matmul::Handles::has_kernel(int64_t id) const {
  std::array<int, 1024> ids;
  int count = 0;
  if (cublasLtMatmulAlgoGetIds(library, compute, CUDA_R_32F, input, input, output, output,
                               static_cast<int>(ids.size()), ids.data(),
                               &count) != CUBLAS_STATUS_SUCCESS) {
    return false;
  }
  const auto end = ids.begin() + count;
  return std::find(ids.begin(), end, id) != end;
}

std::optional<cublasLtMatmulAlgo_t> Matmul::Handles::build(const MatmulAlgorithm& wanted,
                                                           size_t workspace_bytes) const {
  const auto& numbers = wanted.numbers;
  const int64_t reduction = numbers[kSplits] > 1 ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
                                                 : CUBLASLT_REDUCTION_SCHEME_NONE;
  if (!in_range(wanted) || !has_kernel(numbers[kId]) || numbers[kReduction] != reduction) {
    return std::nullopt;
  }
  cublasLtMatmulAlgo_t raw{};
  if (cublasLtMatmulAlgoInit(library, compute, CUDA_R_32F, input, input, output, output,
                             static_cast<int>(numbers[kId]), &raw) != CUBLAS_STATUS_SUCCESS) {
    return std::nullopt;
  }
  if (!has_option(raw, numbers[kCustom]) ||
      !is_listed(raw, CUBLASLT_ALGO_CAP_TILE_IDS, numbers[kTile]) ||
      !is_listed(raw, CUBLASLT_ALGO_CAP_STAGES_IDS, numbers[kStages])) {
    return std::nullopt;
  }
  for (int i = 1; i < MatmulAlgorithm::kNumbers; ++i) {
    if (!set_number(raw, i, numbers[i])) return std::nullopt;
  }
  cublasLtMatmulHeuristicResult_t result{};
  if (cublasLtMatmulAlgoCheck(library, product, a, b, d, d, &raw, &result) !=
          CUBLAS_STATUS_SUCCESS ||
      result.workspaceSize > workspace_bytes) {
    return std::nullopt;
  }
  return raw;
}

bool Matmul::choose(const MatmulAlgorithm& algorithm) {
  const auto raw = handles_->build(algorithm, library_.workspace_bytes_);
  if (raw) handles_->algorithm = *raw;
  return raw.has_value();
}

std::vector<MatmulAlgorithm> Matmul::proposed(int most) const {
  cublasLtMatmulPreference_t preference = nullptr;
  check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate", shape_);
  const std::unique_ptr<cublasLtMatmulPreferenceOpaque_t,
                        decltype(&cublasLtMatmulPreferenceDestroy)>
      owner(preference, cublasLtMatmulPreferenceDestroy);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute", shape_);
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{library_.workspace_bytes_});
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, kReductions);
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    set(attribute, static_cast<uint32_t>(shape_.alignment));
  }
  std::vector<cublasLtMatmulHeuristicResult_t> results(most);
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      handles_->library, handles_->product, handles_->a, handles_->b, handles_->d, handles_->d,
      preference, most, results.data(), &count);
  // Both are how the library says that it has no kernel for the shape.
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return {};
  check(status, "cublasLtMatmulAlgoGetHeuristic", shape_);
  std::vector<MatmulAlgorithm> algorithms;
  for (int i = 0; i < count; ++i) {
    if (results[i].state != CUBLAS_STATUS_SUCCESS) continue;
    const MatmulAlgorithm algorithm = numbers_of(results[i].algo);
    if (handles_->build(algorithm, library_.workspace_bytes_) &&
        std::find(algorithms.begin(), algorithms.end(), algorithm) == algorithms.end()) {
      algorithms.push_back(algorithm);
    }
  }
  return algorithms;
}

std::vector<MatmulAlgorithm> Matmul::variants(const MatmulAlgorithm& start, Vary what) const {
  std::vector<MatmulAlgorithm> found;
  const auto try_with = [&](Number which, int64_t number) {
    MatmulAlgorithm candidate = start;
    candidate.numbers[which] = number;
    if (which == kSplits) {
      candidate.numbers[kReduction] =
          number > 1 ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE : CUBLASLT_REDUCTION_SCHEME_NONE;
    }
    if (candidate != start && handles_->build(candidate, library_.workspace_bytes_)) {
      found.push_back(candidate);
    }
  };
  switch (what) {
    case Vary::tile:
      for (const int64_t tile : kTiles) try_with(kTile, tile);
      break;
    case Vary::cluster:
      for (const int64_t cluster : kClusters) try_with(kCluster, cluster);
      break;
    case Vary::option:
      // Undocumented, at least in part the order in which tiles are computed.
      for (int64_t option = 0; option < kOptions; ++option) try_with(kCustom, option);
      break;
    case Vary::splits:
      for (int64_t splits = 1; splits <= kMostSplits; ++splits) try_with(kSplits, splits);
      break;
  }
  return found;
}

}  // namespace llm::cuda
