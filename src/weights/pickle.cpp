#include "weights/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/byte_reader.h"
#include "base/error.h"
#include "weights/tensor_source.h"

namespace llm {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t kMaxValues = 250'000, kMaxStack = 250'000, kMaxMarks = 10'000;
constexpr int kNewestProtocol = 5;
constexpr std::string_view kOrderedDict = "collections.OrderedDict";

// The machine of pickle: a stack of values, marks in it and a memo. (Python's pickletools.py
// describes the opcodes.)
class Machine {
 public:
  Machine(std::vector<PickleValue>& values, Bytes bytes, const std::string& where,
          std::span<const std::string_view> allowed)
      : values_(values), reader_(bytes, where), allowed_(allowed) {}

  uint32_t run() {
    for (;;) {
      const char opcode = reader_.read<char>("opcode");
      if (opcode == '.') break;
      if (!frame(opcode) && !atom(opcode) && !container(opcode) && !memo(opcode) &&
          !object(opcode)) {
        refuse(fmt::format("opcode 0x{:02x} is not one that tensors need",
                           static_cast<unsigned char>(opcode)));
      }
      if (stack_.size() > kMaxStack) refuse("the stack grows beyond all measure");
    }
    if (reader_.remaining() > 0) refuse("bytes behind the end");
    if (stack_.size() != 1 || !marks_.empty()) refuse("ends with something left over");
    return stack_.back();
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    reader_.fail(what, "only state dicts of tensors, as torch.save writes them, are read");
  }

  uint32_t make(Kind kind) {
    if (values_.size() >= kMaxValues)
      refuse(fmt::format("more than {} values", with_commas(kMaxValues)));
    values_.emplace_back().kind = kind;
    return static_cast<uint32_t>(values_.size() - 1);
  }
  PickleValue& push(Kind kind) {
    stack_.push_back(make(kind));
    return values_.back();
  }
  // The value on top, which must be there behind the last mark.
  uint32_t top() const {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("takes from an empty stack");
    return stack_.back();
  }
  uint32_t pop() {
    const uint32_t value = top();
    stack_.pop_back();
    return value;
  }
  // All values behind the last mark, which goes away.
  std::vector<uint32_t> pop_marked() {
    if (marks_.empty()) refuse("there is no mark");
    std::vector<uint32_t> values(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()),
                                 stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return values;
  }
  PickleValue& top_of(Kind kind, const char* what) {
    PickleValue& value = values_[top()];
    if (value.kind != kind) refuse(fmt::format("{} where there is none", what));
    return value;
  }

  bool frame(char opcode) {
    switch (opcode) {
      case '\x80':  // PROTO
        if (reader_.read<uint8_t>("protocol") > kNewestProtocol) refuse("a protocol of the future");
        return true;
      case '\x95':  // FRAME
        if (reader_.read<uint64_t>("frame") > static_cast<uint64_t>(reader_.remaining())) {
          refuse("a frame beyond the end");
        }
        return true;
      case '0':  // POP
        pop();
        return true;
      case '(':  // MARK
        if (marks_.size() >= kMaxMarks) refuse("too many marks");
        marks_.push_back(stack_.size());
        return true;
      default:
        return false;
    }
  }

  void push_integer(int64_t value) { push(Kind::integer).integer = value; }
  void push_text(int64_t length) {
    const std::string_view text = reader_.take_text(length, "text");
    push(Kind::text).text = text;
  }
  // Little-endian two's complement of up to 8 bytes.
  void push_long() {
    const auto length = reader_.read<uint8_t>("length of a number");
    if (length > 8) refuse("a number beyond 64 bits");
    const Bytes bytes = reader_.take(length, "number");
    uint64_t value = length > 0 && (static_cast<uint8_t>(bytes.back()) & 0x80) != 0 ? ~0ull : 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    push_integer(static_cast<int64_t>(value));
  }
  void push_real() {  // big-endian
    uint64_t bits = __builtin_bswap64(reader_.read<uint64_t>("number"));
    push(Kind::real).real = std::bit_cast<double>(bits);
  }

  bool atom(char opcode) {
    switch (opcode) {
      case 'N':  // NONE
        push(Kind::none);
        return true;
      case '\x88':  // NEWTRUE
      case '\x89':  // NEWFALSE
        push(Kind::boolean).integer = opcode == '\x88';
        return true;
      case 'J':  // BININT
        push_integer(reader_.read<int32_t>("number"));
        return true;
      case 'K':  // BININT1
        push_integer(reader_.read<uint8_t>("number"));
        return true;
      case 'M':  // BININT2
        push_integer(reader_.read<uint16_t>("number"));
        return true;
      case '\x8a':  // LONG1
        push_long();
        return true;
      case 'G':  // BINFLOAT
        push_real();
        return true;
      case 'X':  // BINUNICODE
        push_text(reader_.read<uint32_t>("length of a text"));
        return true;
      case '\x8c':  // SHORT_BINUNICODE
      case 'U':     // SHORT_BINSTRING
        push_text(reader_.read<uint8_t>("length of a text"));
        return true;
      default:
        return false;
    }
  }

  void push_tuple(size_t count) {
    std::vector<uint32_t> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    push(Kind::tuple).items = std::move(items);
  }
  void append_to(Kind kind, const std::vector<uint32_t>& items, const char* what) {
    std::vector<uint32_t>& all = top_of(kind, what).items;
    all.insert(all.end(), items.begin(), items.end());
  }

  bool container(char opcode) {
    switch (opcode) {
      case ')':  // EMPTY_TUPLE
        push(Kind::tuple);
        return true;
      case '\x85':  // TUPLE1
      case '\x86':  // TUPLE2
      case '\x87':  // TUPLE3
        push_tuple(static_cast<size_t>(opcode - '\x85') + 1);
        return true;
      case 't': {  // TUPLE
        std::vector<uint32_t> items = pop_marked();
        push(Kind::tuple).items = std::move(items);
        return true;
      }
      case ']':  // EMPTY_LIST
        push(Kind::list);
        return true;
      case '}':  // EMPTY_DICT
        push(Kind::dict);
        return true;
      case 'a': {  // APPEND
        const uint32_t value = pop();
        append_to(Kind::list, {value}, "appends to a list");
        return true;
      }
      case 'e':  // APPENDS
        append_to(Kind::list, pop_marked(), "appends to a list");
        return true;
      case 's': {  // SETITEM
        const uint32_t value = pop(), key = pop();
        append_to(Kind::dict, {key, value}, "sets an item of a dict");
        return true;
      }
      case 'u': {  // SETITEMS
        const std::vector<uint32_t> items = pop_marked();
        if (items.size() % 2 != 0) refuse("a key without a value");
        append_to(Kind::dict, items, "sets items of a dict");
        return true;
      }
      default:
        return false;
    }
  }

  void remember(uint32_t place) {
    if (place >= kMaxValues) refuse(fmt::format("place {} of the memo", place));
    if (place >= memo_.size()) memo_.resize(place + 1, kNothing);
    memo_[place] = top();
    memo_count_ = std::max<uint32_t>(memo_count_, place + 1);
  }
  void recall(uint32_t place) {
    if (place >= memo_.size() || memo_[place] == kNothing) {
      refuse(fmt::format("value {} of the memo was never put there", place));
    }
    stack_.push_back(memo_[place]);
  }

  bool memo(char opcode) {
    switch (opcode) {
      case 'q':  // BINPUT
        remember(reader_.read<uint8_t>("place in the memo"));
        return true;
      case 'r':  // LONG_BINPUT
        remember(reader_.read<uint32_t>("place in the memo"));
        return true;
      case '\x94':  // MEMOIZE
        remember(memo_count_);
        return true;
      case 'h':  // BINGET
        recall(reader_.read<uint8_t>("place in the memo"));
        return true;
      case 'j':  // LONG_BINGET
        recall(reader_.read<uint32_t>("place in the memo"));
        return true;
      default:
        return false;
    }
  }

  std::string read_line() {
    const Bytes rest = reader_.take(0, "name");
    const auto* begin = reinterpret_cast<const char*>(rest.data());
    const auto* end = static_cast<const char*>(
        std::memchr(begin, '\n', static_cast<size_t>(reader_.remaining())));
    if (end == nullptr) refuse("a name without end");
    std::string line(reader_.take_text(end - begin, "name"));
    reader_.take(1, "name");
    return line;
  }
  void push_global(std::string name) {
    if (std::find(allowed_.begin(), allowed_.end(), name) == allowed_.end()) {
      refuse(fmt::format("asks for {}, which is not allowed", quoted_name(name)));
    }
    push(Kind::global).text = std::move(name);
  }
  std::string pop_text() {
    const PickleValue& value = values_[pop()];
    if (value.kind != Kind::text) refuse("a name that is no text");
    return value.text;
  }
  void call() {
    const uint32_t arguments = pop(), callee = pop();
    if (values_[callee].kind != Kind::global || values_[arguments].kind != Kind::tuple) {
      refuse("calls what is not allowed");
    }
    if (values_[callee].text != kOrderedDict) {
      push(Kind::call).items = {callee, arguments};
    } else if (values_[arguments].items.empty()) {
      push(Kind::dict);
    } else {
      refuse("an OrderedDict with arguments");
    }
  }

  bool object(char opcode) {
    switch (opcode) {
      case 'c': {  // GLOBAL
        const std::string module = read_line();
        push_global(module + "." + read_line());
        return true;
      }
      case '\x93': {  // STACK_GLOBAL
        const std::string name = pop_text(), module = pop_text();
        push_global(module + "." + name);
        return true;
      }
      case 'R':  // REDUCE
        call();
        return true;
      case 'b':  // BUILD
        pop();
        top_of(Kind::dict, "sets the state of a dict");
        return true;
      case 'Q': {  // BINPERSID
        const uint32_t id = pop();
        push(Kind::persistent).items = {id};
        return true;
      }
      default:
        return false;
    }
  }

  static constexpr uint32_t kNothing = UINT32_MAX;
  std::vector<PickleValue>& values_;
  ByteReader reader_;
  std::span<const std::string_view> allowed_;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::vector<uint32_t> memo_;
  uint32_t memo_count_ = 0;
};

}  // namespace

Pickle::Pickle(Bytes bytes, const std::string& where, std::span<const std::string_view> allowed) {
  root_ = Machine(values_, bytes, where, allowed).run();
}

const PickleValue* Pickle::find(const PickleValue& dict, std::string_view key) const {
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& name = item(dict, i);
    if (name.kind == Kind::text && name.text == key) return &item(dict, i + 1);
  }
  return nullptr;
}

}  // namespace llm
