// Errors of the core as values. Nothing in spellcore throws across its border: every fallible call returns Result<T>.
#pragma once

#include <cstdint>
#include <new>
#include <string>
#include <utility>
#include <variant>

namespace spell {

// Each code has one Python class, named in bind/errors.cpp.
enum class Errc : std::uint8_t {
    invalid_argument,
    invalid_text,
    dimension_mismatch,
    non_finite,
    zero_vector,
    duplicate_key,
    not_found,
    limit_exceeded,
    closed,
    corrupt,
    version_mismatch,
    disk_full,
    io,
    out_of_memory,
};

// `a` and `b` are the numbers of the error: expected and got, row and column, row, key, limit and used.
struct Error {
    Errc code = Errc::invalid_argument;
    std::int64_t a = 0;
    std::int64_t b = 0;
    const char* name = "";     // the argument, the resource or the thing
    const char* allowed = "";  // what would have been right
};

template <class T>
class Result {
 public:
    Result(T value) noexcept : state_(std::move(value)) {}
    Result(Error error) noexcept : state_(error) {}

    explicit operator bool() const noexcept { return state_.index() == 0; }
    T& value() noexcept { return *std::get_if<0>(&state_); }
    const T& value() const noexcept { return *std::get_if<0>(&state_); }
    const Error& error() const noexcept { return *std::get_if<1>(&state_); }

 private:
    std::variant<T, Error> state_;
};

struct Done {};
using Status = Result<Done>;

// Runs `body`, which may allocate, and turns a failed allocation into an error.
template <class T, class Body>
Result<T> guarded(Body&& body) noexcept {
    try {
        return std::forward<Body>(body)();
    } catch (...) {
        return Error{Errc::out_of_memory};
    }
}

}  // namespace spell
