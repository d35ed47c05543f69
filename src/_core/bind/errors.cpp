#include "bind/errors.hpp"

#include <array>
#include <string>

namespace py = pybind11;

namespace spell::bind {
namespace {

struct Row {
    Errc code;
    const char* class_name;
    const char* a;  // the detail that holds Error::a, or nullptr
    const char* b;
    const char* name;     // the detail that holds Error::name
    const char* message;  // {a}, {b}, {name}, {allowed} are filled in
};

constexpr std::array<Row, 13> table{{
    {Errc::invalid_argument, "InvalidArgument", "value", nullptr, "name", "{name} is {a}; expected {allowed}"},
    {Errc::invalid_text, "InvalidArgument", nullptr, nullptr, "name",
     "{name} holds a lone surrogate; expected text that has a UTF-8 form"},
    {Errc::dimension_mismatch, "DimensionMismatch", "expected", "got", nullptr,
     "the vector has {b} numbers; expected {a}"},
    {Errc::non_finite, "NonFiniteValue", "row", "column", nullptr,
     "row {a} holds NaN or Inf at column {b}; expected finite numbers"},
    {Errc::zero_vector, "ZeroVector", "row", nullptr, nullptr,
     "row {a} is a zero vector, which has no direction; expected a nonzero vector or another metric than cosine"},
    {Errc::duplicate_key, "DuplicateKey", "key", nullptr, nullptr,
     "key {a} is live or repeated; expected new keys, or replace=True"},
    {Errc::not_found, "NotFound", "id", nullptr, "what", "{name} {a} does not exist"},
    {Errc::limit_exceeded, "LimitExceeded", "limit", "used", "resource", "{name} would become {b}; the limit is {a}"},
    {Errc::closed, "ComponentError", nullptr, nullptr, "what", "the {name} is closed; expected an open one"},
    {Errc::corrupt, "CorruptData", "offset", nullptr, "section",
     "section {name} is damaged at byte {a}; restore the file from a backup"},
    {Errc::version_mismatch, "VersionMismatch", "found", "supported", nullptr,
     "the file has format {a}; expected {b} or lower: update llmspell"},
    {Errc::disk_full, "StorageFull", "errno", nullptr, nullptr, "no space is left; free some and try again"},
    {Errc::io, "StorageFailure", "errno", nullptr, nullptr, "the operating system refused with error {a}"},
}};

std::array<PyObject*, table.size()> classes{};

PyObject* class_of(Errc code) {
    for (std::size_t i = 0; i < table.size(); ++i) {
        if (table[i].code == code) {
            return classes[i];
        }
    }
    return PyExc_SystemError;
}

std::string fill(const char* text, const Error& error) {
    std::string out(text);
    const auto put = [&out](const char* mark, const std::string& value) {
        for (std::size_t at = out.find(mark); at != std::string::npos; at = out.find(mark, at + value.size())) {
            out.replace(at, std::char_traits<char>::length(mark), value);
        }
    };
    put("{a}", std::to_string(error.a));
    put("{b}", std::to_string(error.b));
    put("{name}", error.name);
    put("{allowed}", error.allowed);
    return out;
}

}  // namespace

void fill_error_table() {
    const py::module_ errors = py::module_::import("llmspell.errors");
    for (std::size_t i = 0; i < table.size(); ++i) {
        classes[i] = py::object(errors.attr(table[i].class_name)).release().ptr();
    }
}

void raise_invalid(const char* name, const py::object& value, const char* allowed) {
    py::dict details, keywords;
    details["name"] = name;
    details["value"] = value;
    details["allowed"] = allowed;
    keywords["details"] = details;
    const std::string message =
        std::string(name) + " is " + py::repr(value).cast<std::string>() + "; expected " + allowed;
    PyErr_SetObject(class_of(Errc::invalid_argument),
                    py::handle(class_of(Errc::invalid_argument))(message, **keywords).ptr());
    throw py::error_already_set();
}

[[noreturn]] static void raise_with(const Error& error, const std::string* path);

void raise(const Error& error) {
    raise_with(error, nullptr);
}

void raise_of_file(const Error& error, const std::string& path) {
    const bool of_file = error.code == Errc::corrupt || error.code == Errc::version_mismatch ||
                         error.code == Errc::disk_full || error.code == Errc::io;
    raise_with(error, of_file ? &path : nullptr);
}

void raise_with(const Error& error, const std::string* path) {
    if (error.code == Errc::out_of_memory) {
        PyErr_NoMemory();
        throw py::error_already_set();
    }
    for (std::size_t i = 0; i < table.size(); ++i) {
        const Row& row = table[i];
        if (row.code != error.code) {
            continue;
        }
        py::dict details;
        if (row.a != nullptr) details[row.a] = error.a;
        if (row.b != nullptr) details[row.b] = error.b;
        if (row.name != nullptr) details[row.name] = error.name;
        if (error.code == Errc::invalid_argument) details["allowed"] = error.allowed;
        if (path != nullptr) details["path"] = *path;
        py::dict keywords;
        keywords["details"] = details;
        if (error.code == Errc::closed) keywords["code"] = "closed";
        const bool explained = error.code == Errc::corrupt && *error.allowed != '\0';
        const char* const message =
            explained ? "section {name} holds {b} at byte {a}; expected {allowed}" : row.message;
        const py::handle cls(classes[i]);
        PyErr_SetObject(cls.ptr(),
                        cls((path == nullptr ? std::string() : *path + ": ") + fill(message, error), **keywords).ptr());
        throw py::error_already_set();
    }
    PyErr_SetString(PyExc_SystemError, "an error code of the core has no class");
    throw py::error_already_set();
}

}  // namespace spell::bind
