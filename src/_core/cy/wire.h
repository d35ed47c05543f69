// Byte order, ASCII tests and key hashing of the codec, where C++ says more than Cython.
#pragma once

#include <Python.h>

#include <cstdint>
#include <cstring>

// Big-endian stores and loads; the compiler makes one instruction of each.
static inline void put16(unsigned char* p, uint16_t v) {
    v = __builtin_bswap16(v);
    memcpy(p, &v, 2);
}
static inline void put32(unsigned char* p, uint32_t v) {
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}
static inline void put64(unsigned char* p, uint64_t v) {
    v = __builtin_bswap64(v);
    memcpy(p, &v, 8);
}
static inline uint16_t get16(const unsigned char* p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return __builtin_bswap16(v);
}
static inline uint32_t get32(const unsigned char* p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}
static inline uint64_t get64(const unsigned char* p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}
static inline void put_double(unsigned char* p, double d) {
    uint64_t v;
    memcpy(&v, &d, 8);
    put64(p, v);
}
static inline double get_double(const unsigned char* p) {
    uint64_t v = get64(p);
    double d;
    memcpy(&d, &v, 8);
    return d;
}
static inline float get_float(const unsigned char* p) {
    uint32_t v = get32(p);
    float d;
    memcpy(&d, &v, 4);
    return d;
}

static inline int all_ascii(const unsigned char* p, Py_ssize_t n) {
    uint64_t bits = 0;
    while (n >= 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        bits |= v;
        p += 8;
        n -= 8;
    }
    while (n-- > 0) {
        bits |= *p++;
    }
    return (bits & 0x8080808080808080ull) == 0;
}
static inline PyObject* ascii_text(const unsigned char* p, Py_ssize_t n) {
    PyObject* text = PyUnicode_New(n, 127);
    if (text != nullptr) {
        memcpy(PyUnicode_1BYTE_DATA(text), p, n);
    }
    return text;
}
static inline uint32_t short_hash(const unsigned char* p, Py_ssize_t n) {
    uint32_t h = (uint32_t)n * 0x9E3779B1u;
    while (n >= 4) {
        uint32_t v;
        memcpy(&v, p, 4);
        h = (h ^ v) * 0x85EBCA6Bu;
        h ^= h >> 15;
        p += 4;
        n -= 4;
    }
    while (n-- > 0) {
        h = (h ^ *p++) * 0x01000193u;
    }
    return h ^ (h >> 13);
}
