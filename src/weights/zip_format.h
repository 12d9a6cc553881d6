// Numbers of the ZIP format: APPNOTE.TXT of PKWARE, sections 4.3 to 4.5.
#pragma once

#include <cstdint>

namespace llm::zip {

constexpr uint32_t kLocalHeader = 0x04034b50, kDirectoryEntry = 0x02014b50,
                   kDirectoryEnd = 0x06054b50, kZip64End = 0x06064b50, kZip64Locator = 0x07064b50;
constexpr uint16_t kZip64Extra = 1;
constexpr uint32_t kIn64Bits = 0xffffffff;  // stands for a number in the ZIP64 field

}  // namespace llm::zip
