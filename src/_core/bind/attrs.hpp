// Attributes and conditions on them: between Python and the core.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <vector>

#include "hnsw/filter.hpp"

namespace spell::bind {

// A sequence of mappings or None.
std::vector<hnsw::Attrs> attrs_of(const pybind11::object& rows);
pybind11::dict to_dict(const hnsw::Attrs& attrs);

// A Filter, or a mapping in the language of filters.
std::shared_ptr<const hnsw::Filter> filter_of(const pybind11::object& condition);
void bind_filter(pybind11::module_& module);

}  // namespace spell::bind
