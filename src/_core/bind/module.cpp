// The table of contents of `_native`.
#include <pybind11/pybind11.h>

#include "base/cpu.hpp"
#include "bind/errors.hpp"

namespace py = pybind11;

void bind_embed(py::module_& module);
void bind_text(py::module_& module);
void bind_vectors(py::module_& module);
#ifdef LLMSPELL_GUARD
void bind_guard(py::module_& module);
#endif

namespace {

py::dict describe_cpu() {
    const spell::Cpu& found = spell::cpu();
    py::dict out;
    out["sse42"] = found.sse42;
    out["avx2"] = found.avx2;
    out["avx512"] = found.avx512;
    out["vnni"] = found.vnni;
    out["sha"] = found.sha;
    out["neon"] = found.neon;
    out["dotprod"] = found.dotprod;
    out["crc"] = found.crc;
    out["detected"] = std::string(spell::simd_name(found.detected));
    out["active"] = std::string(spell::simd_name(found.active));
    return out;
}

}  // namespace

PYBIND11_MODULE(_native, module) {
    module.doc() = "Objects of llmspell that own memory, over the C++ library spellcore.";
    spell::bind::fill_error_table();
    module.def("cpu", &describe_cpu, "Return what the processor can do (bool per feature) and the level in use.");
    bind_embed(module);
    bind_text(module);
    bind_vectors(module);
#ifdef LLMSPELL_GUARD
    bind_guard(module);
#endif
}
