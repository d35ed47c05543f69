// Splits independent work over threads that live for one call.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/result.hpp"

namespace spell {

// Calls body(begin, end) for disjoint ranges that cover [0, count). threads: 1 to 256, 0 = all processors.
template <class Body>
Status in_parallel(std::size_t count, std::int64_t threads, Body&& body) noexcept {
    if (threads < 0 || threads > 256) {
        return Error{Errc::invalid_argument, threads, 0, "threads", "0 to 256"};
    }
    // Asked once: the C library opens a file of the system for it.
    static const std::size_t all = std::max(1u, std::thread::hardware_concurrency());
    std::size_t wanted = threads == 0 ? all : static_cast<std::size_t>(threads);
    wanted = std::max<std::size_t>(1, std::min(wanted, count));
    std::atomic<bool> failed{false};
    const auto run = [&](std::size_t part) noexcept {
        try {
            body(count * part / wanted, count * (part + 1) / wanted);
        } catch (...) {
            failed.store(true, std::memory_order_relaxed);
        }
    };
    std::vector<std::thread> others;
    std::size_t started = 1;
    try {
        others.reserve(wanted);
        for (; started < wanted; ++started) {
            others.emplace_back(run, started);
        }
    } catch (...) {
        // No more threads are to be had: this one does the parts that have none.
    }
    run(0);
    for (std::size_t part = started; part < wanted; ++part) {
        run(part);
    }
    for (std::thread& other : others) {
        other.join();
    }
    if (failed.load()) {
        return Error{Errc::out_of_memory};
    }
    return Done{};
}

}  // namespace spell
