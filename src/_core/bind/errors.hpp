// The one way from an Error of the core to an exception of llmspell.errors.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "base/result.hpp"

namespace spell::bind {

// Imports the classes of the table; called once by module.cpp.
void fill_error_table();

[[noreturn]] void raise(const Error& error);

// InvalidArgument about a value that is not a number.
[[noreturn]] void raise_invalid(const char* name, const pybind11::object& value, const char* allowed);

// Of a call on a file: names it in the details. Any other error is raised as it is.
[[noreturn]] void raise_of_file(const Error& error, const std::string& path);

template <class T>
T unwrap_or_raise(Result<T>&& result) {
    if (!result) {
        raise(result.error());
    }
    return std::move(result.value());
}

inline void check(Status&& status) {
    if (!status) {
        raise(status.error());
    }
}

}  // namespace spell::bind
