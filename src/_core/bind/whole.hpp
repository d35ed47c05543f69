// An int argument of any size: what 64 bits cannot hold becomes the nearest number they can, which the check of its
// range then refuses with a sentence, where pybind11 alone would answer with the signature.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <limits>

namespace spell::bind {

struct Whole {
    std::int64_t value = 0;
    operator std::int64_t() const noexcept { return value; }
};

}  // namespace spell::bind

template <>
struct pybind11::detail::type_caster<spell::bind::Whole> {
    PYBIND11_TYPE_CASTER(spell::bind::Whole, const_name("int"));

    bool load(handle source, bool) {
        if (PyIndex_Check(source.ptr()) == 0) {
            return false;
        }
        const auto number = reinterpret_steal<object>(PyNumber_Index(source.ptr()));
        if (!number) {
            PyErr_Clear();
            return false;
        }
        int overflow = 0;
        value.value = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
        if (overflow != 0) {
            using Limits = std::numeric_limits<std::int64_t>;
            value.value = overflow > 0 ? Limits::max() : Limits::min();
        }
        return true;
    }
};
