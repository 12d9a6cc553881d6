// How --help looks: descriptions wrapped to the terminal, defaults in brackets after them.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace llm {

// For the app before its commands are added: they inherit it. `columns`: 0 takes the width of the
// terminal of stdout, 100 where that is none.
std::shared_ptr<CLI::FormatterBase> make_help_formatter(size_t columns = 0);

// `left` indented by two, and `text` beside it in lines from column `indent` to column `columns`.
std::string two_columns(std::string_view left, std::string_view text, size_t indent,
                        size_t columns);

}  // namespace llm
