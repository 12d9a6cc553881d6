#include "cli/help_formatter.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

namespace llm {
namespace {

constexpr size_t kIndent = 30, kUsualColumns = 100, kFewestColumns = 60, kMostColumns = 120;

size_t terminal_columns() {
  struct winsize window {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col == 0) return kUsualColumns;
  return std::clamp<size_t>(window.ws_col, kFewestColumns, kMostColumns);
}

// "--echo,--no-echo{false}" -> "--echo,--no-echo"
std::string without_braces(const std::string& name) {
  const size_t brace = name.find('{');
  return brace == std::string::npos ? name : name.substr(0, brace);
}

// What stands for the value: "N:INT in [0 - 4096]" -> "N".
std::string value_name(const CLI::Option& option) {
  if (option.get_type_size() == 0) return "";  // a flag
  const std::string type = option.get_type_name();
  const std::string name = type.substr(0, type.find(':'));
  if (name == "INT" || name == "UINT") return "N";
  return name == "FLOAT" ? "X" : name;
}

// "N:{a,b}" -> "a, b"; empty where the choice is free.
std::string choices(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t begin = type.find('{'), end = type.rfind('}');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return "";
  std::string result;
  for (const char c : type.substr(begin + 1, end - begin - 1)) {
    result += c;
    if (c == ',') result += ' ';
  }
  return result;
}

// Whether a description tells what holds without the option: in brackets at its end, or "default".
bool tells_default(const std::string& text) {
  return text.ends_with(']') || text.find("(default") != std::string::npos;
}

class HelpFormatter final : public CLI::Formatter {
 public:
  explicit HelpFormatter(size_t columns) : columns_(columns) { column_width(kIndent); }

  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    std::string left = without_braces(make_option_name(option, is_positional));
    const std::string value = value_name(*option);
    if (!value.empty() && !is_positional) left += " " + value;
    if (is_positional && option->get_expected_max() > 1) left += " ...";
    std::string text = option->get_description();
    // A description that names the choices itself needs no list of them.
    const std::string list = choices(*option);
    if (!list.empty() && text.find(list.substr(0, list.find(','))) == std::string::npos) {
      text += ": " + list;
    }
    const std::string usual = option->get_default_str();
    const bool shown = !usual.empty() && usual != "[]" && !option->get_required();
    if (shown && !tells_default(text)) text += " [" + usual + "]";
    if (option->get_required() && !is_positional) text += " (required)";
    return two_columns(left, text, get_column_width(), columns_ ? columns_ : terminal_columns());
  }

  std::string make_subcommand(const CLI::App* command) const override {
    return two_columns(command->get_display_name(true), command->get_description(),
                       get_column_width(), columns_ ? columns_ : terminal_columns());
  }

 private:
  size_t columns_;
};

}  // namespace

std::shared_ptr<CLI::FormatterBase> make_help_formatter(size_t columns) {
  return std::make_shared<HelpFormatter>(columns);
}

std::string two_columns(std::string_view left, std::string_view text, size_t indent,
                        size_t columns) {
  std::string result = "  " + std::string(left);
  size_t at = result.size();
  const auto next_line = [&] {
    result += '\n';
    at = 0;
  };
  if (at + 2 > indent && !text.empty()) next_line();
  bool first = true;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!first && at + 1 + word.size() > columns) {
      next_line();
      first = true;
    }
    const size_t gap = first ? indent - at : 1;
    result.append(gap, ' ').append(word);
    at += gap + word.size();
    first = false;
  }
  return result + '\n';
}

}  // namespace llm
