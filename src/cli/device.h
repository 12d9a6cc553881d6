// The option --device, for all commands that compute.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "backend/backend.h"

namespace llm {

// Adds --device, "auto" unless given.
void add_device_option(CLI::App& command, std::string& device);

// auto (a GPU if there is one, else the CPU), cpu, cuda or cuda:N. Throws Error{usage} for anything
// else, Error{device} for a device that is not there or that this build cannot use.
std::unique_ptr<Backend> make_backend(const std::string& device);

}  // namespace llm
