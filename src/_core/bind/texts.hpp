// Borrowing the UTF-8 of Python strings.
#pragma once

#include <pybind11/pybind11.h>

#include <string_view>
#include <vector>

#include "bind/errors.hpp"

namespace spell::bind {

// The view lives as long as the string object. Lone surrogates have no UTF-8 form: InvalidArgument.
inline std::string_view utf8_of(pybind11::handle text, const char* name) {
    if (!PyUnicode_Check(text.ptr())) {
        throw pybind11::type_error(std::string(name) + " must be str, not " + Py_TYPE(text.ptr())->tp_name);
    }
    Py_ssize_t size = 0;
    const char* data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
    if (data == nullptr) {
        if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
            PyErr_Clear();
            raise(Error{Errc::invalid_text, 0, 0, name});
        }
        throw pybind11::error_already_set();
    }
    return {data, static_cast<std::size_t>(size)};
}

// Owns the strings of a sequence, because another thread may change the list while the GIL is released.
struct Texts {
    pybind11::tuple owner;
    std::vector<std::string_view> views;

    Texts(pybind11::handle sequence, const char* name) {
        if (PyUnicode_Check(sequence.ptr())) {
            throw pybind11::type_error(std::string(name) + " must be a sequence of str, not one str");
        }
        owner = pybind11::reinterpret_steal<pybind11::tuple>(PySequence_Tuple(sequence.ptr()));
        if (!owner) {
            throw pybind11::error_already_set();
        }
        views.reserve(owner.size());
        for (const pybind11::handle text : owner) {
            views.push_back(utf8_of(text, name));
        }
    }
};

}  // namespace spell::bind
