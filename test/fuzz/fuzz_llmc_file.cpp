// Any bytes as a model file of llm.c: refused, or tensors that lie in the bytes one after the
// other.
#include <cstdint>

#include "base/error.h"
#include "weights/llmc_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const llm::Bytes bytes = std::as_bytes(std::span(data, size));
  try {
    const llm::LlmcModel model = llm::parse_llmc_file(bytes, "input");
    const std::byte* reached = bytes.data() + 1024;
    for (const llm::SourceTensor& tensor : model.tensors) {
      LLM_ASSERT(tensor.data.data() >= reached);
      reached = tensor.data.data() + tensor.data.size();
      LLM_ASSERT(tensor.bytes() == static_cast<int64_t>(tensor.data.size()));
    }
    LLM_ASSERT(reached <= bytes.data() + bytes.size());
  } catch (const llm::Error&) {
  }
  return 0;
}
