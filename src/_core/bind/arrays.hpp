// Arguments that are arrays: checked and converted once, with the GIL held.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bind/errors.hpp"

namespace spell::bind {

inline pybind11::array any_array(const pybind11::object& value, const char* name, const char* kinds, const char* what) {
    auto array = pybind11::array::ensure(value);
    if (!array) {
        PyErr_Clear();
        throw pybind11::type_error(std::string(name) + " must be " + what);
    }
    const bool empty_list = array.size() == 0 && array.dtype().kind() == 'f';
    if (std::string(kinds).find(array.dtype().kind()) == std::string::npos && !empty_list) {
        throw pybind11::type_error(std::string(name) + " must be " + what);
    }
    return array;
}

// Keys are copied: they are sorted and searched with the GIL released, when their owner may change them.
inline std::vector<std::int64_t> keys_of(const pybind11::object& value, const char* name) {
    auto array = any_array(value, name, "iu", "an int or an array of integers");
    if (array.ndim() > 1) {
        raise(Error{Errc::invalid_argument, array.ndim(), 0, "dimensions of keys", "1"});
    }
    const auto plain = pybind11::array_t < std::int64_t,
               pybind11::array::c_style | pybind11::array::forcecast > ::ensure(array);
    if (!plain) {
        throw pybind11::error_already_set();
    }
    return {plain.data(), plain.data() + plain.size()};
}

// Rows of float32. A float32 array in C order is borrowed; anything else is converted here, where a number beyond
// float32 becomes infinite and is then refused as such.
struct Matrix {
    pybind11::array owner;
    std::vector<float> converted;
    const float* data = nullptr;
    std::size_t rows = 0;

    Matrix(const pybind11::object& value, const char* name, std::size_t dim) {
        using Exact = pybind11::array_t<float, pybind11::array::c_style>;
        const bool plain = pybind11::isinstance<Exact>(value);
        owner = plain ? pybind11::reinterpret_borrow<pybind11::array>(value)
                      : any_array(value, name, "fiu", "an array of numbers");
        if (owner.ndim() < 1 || owner.ndim() > 2) {
            raise(Error{Errc::invalid_argument, owner.ndim(), 0, "dimensions of an array of vectors", "1 or 2"});
        }
        rows = owner.ndim() == 2 ? static_cast<std::size_t>(owner.shape(0)) : owner.size() == 0 ? 0 : 1;
        if (rows != 0 && static_cast<std::size_t>(owner.shape(owner.ndim() - 1)) != dim) {
            raise(Error{Errc::dimension_mismatch, static_cast<std::int64_t>(dim), owner.shape(owner.ndim() - 1)});
        }
        if (plain || pybind11::isinstance<Exact>(owner)) {
            data = static_cast<const float*>(owner.data());
            return;
        }
        const auto wide = pybind11::array_t < double,
                   pybind11::array::c_style | pybind11::array::forcecast > ::ensure(owner);
        if (!wide) {
            throw pybind11::error_already_set();
        }
        converted.assign(wide.data(), wide.data() + wide.size());
        data = converted.data();
    }
};

}  // namespace spell::bind
