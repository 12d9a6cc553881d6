// Pickles of Python, read as data. Nothing is executed and nothing is imported: a global is a name,
// and only names that the caller allows; a call is a record of what would be called with what.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace llm {

struct PickleValue {
  enum class Kind : uint8_t {
    none,
    boolean,     // integer: 0 or 1
    integer,     //
    real,        //
    text,        //
    tuple,       // items
    list,        // items
    dict,        // items: key, value, key, value ...
    global,      // text: "module name" with a dot between
    call,        // items: the global and the tuple of arguments
    persistent,  // items: the id, which stands for something outside of the pickle
  };
  Kind kind = Kind::none;
  int64_t integer = 0;
  double real = 0;
  std::string text;
  std::vector<uint32_t> items;  // indices of values
};

class Pickle {
 public:
  // Reads the pickle in `bytes`, to its last byte. Throws Error{input} with `where` and the offset
  // for everything that a pickle of data does not need: opcodes that build objects of other
  // classes, globals that are not in `allowed`, numbers beyond 64 bits, more than 250,000 values.
  // A call of "collections.OrderedDict" without arguments is an empty dict, and the state that is
  // set on a dict (attributes of the object) is dropped.
  Pickle(Bytes bytes, const std::string& where, std::span<const std::string_view> allowed);

  const PickleValue& root() const { return values_[root_]; }
  const PickleValue& item(const PickleValue& value, size_t index) const {
    return values_[value.items[index]];
  }
  // The value of a dict at a key of text; null if there is none.
  const PickleValue* find(const PickleValue& dict, std::string_view key) const;

 private:
  std::vector<PickleValue> values_;
  uint32_t root_ = 0;
};

}  // namespace llm
