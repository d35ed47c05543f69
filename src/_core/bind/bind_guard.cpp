// `Guard`: the host's side of one Lua state's control block. The block outlives the object when the state is still
// open, because the state's allocator writes to it until its last block is freed.
#include <dlfcn.h>
#include <pybind11/pybind11.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

#include "bind/errors.hpp"
#include "guard/control.h"

namespace py = pybind11;

namespace {

constexpr const char* kResources[] = {"", "interrupt", "wall_time_ms", "instructions", "output_bytes"};

// The guard that a signal trips, and the handler that was there before (Python's own), which runs afterwards.
std::atomic<spell_control*> signalled{nullptr};
struct sigaction before;

extern "C" void trip_from_signal(int number, siginfo_t* info, void* context) {
    if (spell_control* c = signalled.load(std::memory_order_relaxed)) {
        int expected = SPELL_RUNNING;
        __atomic_compare_exchange_n(&c->tripped, &expected, SPELL_INTERRUPT, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    if (before.sa_flags & SA_SIGINFO) {
        if (before.sa_sigaction != nullptr) before.sa_sigaction(number, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN && before.sa_handler != nullptr) {
        before.sa_handler(number);
    }
}

class Guard {
 public:
    explicit Guard(std::string path) : path_(std::move(path)) {
        library_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library_ == nullptr) fail(std::string("cannot load the guard: ") + dlerror());
        block_ = static_cast<spell_control*>(std::calloc(1, sizeof(spell_control)));
        if (block_ == nullptr) throw std::bad_alloc();
        block_->magic = SPELL_CONTROL_MAGIC;
        block_->outside = 1;
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() {
        spell_control* mine = block_;
        signalled.compare_exchange_strong(mine, nullptr);
        if (__atomic_load_n(&block_->memory_used, __ATOMIC_ACQUIRE) > 0) return;  // the state is still open
        using Release = void (*)(spell_control*);
        if (auto release = reinterpret_cast<Release>(dlsym(library_, "spell_release"))) release(block_);
        std::free(block_);
    }

    void attach(const std::string& lua) {
        using Attach = const char* (*)(const char*);
        auto attach = reinterpret_cast<Attach>(dlsym(library_, "spell_attach"));
        const char* wrong = attach == nullptr ? "the guard has no spell_attach" : attach(lua.c_str());
        if (wrong != nullptr) fail(std::string("the guard does not fit this Lua library: ") + wrong);
    }

    void arm(int64_t instructions, int64_t memory_bytes, py::object deadline) {
        if (instructions < 0 || memory_bytes < 0)
            spell::bind::raise_invalid("instructions, memory_bytes", py::int_(std::min(instructions, memory_bytes)),
                                       "0 or more");
        int64_t at = 0;
        if (!deadline.is_none()) at = static_cast<int64_t>(std::llround(deadline.cast<double>() * 1e9));
        __atomic_store_n(&block_->instructions_limit, instructions, __ATOMIC_RELAXED);
        __atomic_store_n(&block_->memory_limit, memory_bytes, __ATOMIC_RELAXED);
        __atomic_store_n(&block_->deadline_ns, at, __ATOMIC_RELAXED);
    }

    void trip(const std::string& resource) {
        for (int i = 1; i <= SPELL_OUTPUT; i++) {
            if (resource != kResources[i]) continue;
            int expected = SPELL_RUNNING;
            __atomic_compare_exchange_n(&block_->tripped, &expected, i, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
            return;
        }
        spell::bind::raise_invalid("resource", py::str(resource),
                                   "interrupt, wall_time_ms, instructions or output_bytes");
    }

    void clear() {
        block_->instructions_used = 0;
        block_->grace_ns = 0;
        block_->grace_instructions = 0;
        __atomic_store_n(&block_->memory_peak, block_->memory_used, __ATOMIC_RELAXED);
        __atomic_store_n(&block_->tripped, SPELL_RUNNING, __ATOMIC_SEQ_CST);
    }

    py::object tripped() const {
        int reason = __atomic_load_n(&block_->tripped, __ATOMIC_RELAXED);
        return reason == SPELL_RUNNING ? py::object(py::none()) : py::object(py::str(kResources[reason]));
    }

    py::dict used() const {
        py::dict out;
        out["instructions"] = __atomic_load_n(&block_->instructions_used, __ATOMIC_RELAXED);
        out["memory_bytes"] = memory();
        out["peak_bytes"] = __atomic_load_n(&block_->memory_peak, __ATOMIC_RELAXED);
        out["tripped"] = tripped();
        return out;
    }

    int64_t memory() const { return __atomic_load_n(&block_->memory_used, __ATOMIC_RELAXED); }

    void watch_signal(int number) {
        signalled.store(block_);
        struct sigaction now;
        std::memset(&now, 0, sizeof now);
        struct sigaction found;
        if (sigaction(number, nullptr, &found) != 0)
            spell::bind::raise_invalid("number", py::int_(number), "a signal number");
        if ((found.sa_flags & SA_SIGINFO) && found.sa_sigaction == trip_from_signal) return;
        before = found;
        now.sa_sigaction = trip_from_signal;
        now.sa_flags = SA_SIGINFO | (found.sa_flags & ~SA_RESTART);
        sigfillset(&now.sa_mask);
        sigaction(number, &now, nullptr);
    }

    const std::string& path() const { return path_; }
    uint64_t address() const { return reinterpret_cast<uint64_t>(block_); }

 private:
    [[noreturn]] static void fail(const std::string& message) {
        py::object error = py::module_::import("llmspell.errors").attr("ConfigurationError")(message);
        PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
        throw py::error_already_set();
    }

    std::string path_;
    void* library_ = nullptr;
    spell_control* block_ = nullptr;
};

}  // namespace

void bind_guard(py::module_& m) {
    py::class_<Guard>(m, "Guard", "Control block of one Lua state; the unit inside the state reads and writes it.")
        .def(py::init<std::string>(), py::arg("path"))
        .def("attach", &Guard::attach, py::arg("lua"))
        .def("arm", &Guard::arm, py::kw_only(), py::arg("instructions") = 0, py::arg("memory_bytes") = 0,
             py::arg("deadline") = py::none())
        .def("trip", &Guard::trip, py::arg("resource"))
        .def("clear", &Guard::clear)
        .def("used", &Guard::used)
        .def("watch_signal", &Guard::watch_signal, py::arg("number"))
        .def_property_readonly("tripped", &Guard::tripped)
        .def_property_readonly("memory", &Guard::memory)
        .def_property_readonly("path", &Guard::path)
        .def_property_readonly("address", &Guard::address);
}
