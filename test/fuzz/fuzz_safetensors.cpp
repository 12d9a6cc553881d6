// Any bytes as a safetensors file: refused, or tensors that tile the data exactly.
#include <cstdint>

#include "base/error.h"
#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const llm::Bytes bytes = std::as_bytes(std::span(data, size));
  try {
    const llm::SafetensorsHeader header = llm::parse_safetensors(bytes, "input");
    int64_t reached = 0;
    for (const llm::TensorInfo& tensor : header.tensors) {
      LLM_ASSERT(tensor.begin == reached && tensor.end >= reached);
      LLM_ASSERT(header.tensors[header.by_name.at(tensor.name)].name == tensor.name);
      reached = tensor.end;
    }
    LLM_ASSERT(header.data_begin + reached == static_cast<int64_t>(size));
  } catch (const llm::Error&) {
  }
  return 0;
}
