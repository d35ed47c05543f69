# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=True, embedsignature.format=python, binding=True
"""MessagePack for plain Python values: the loops that walk Python objects.

The writer keeps a chain of frames, one per open container, on the C stack: it is the ancestor list that finds cycles and
the place from which the path of an error is read. Nothing is imported at load time but `collections`; datetime, uuid,
decimal and numpy are looked up in sys.modules, for a value of such a type cannot exist before its module does.

Extension types: -1 timestamp, 2 big integer (sign byte, big-endian magnitude), 3 UUID, 4 Decimal (text),
5 array (dtype byte, raw little-endian). Codes 16 to 127 belong to the caller, see `Ext`.
"""

import sys
from collections import namedtuple

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef extern from *:
    """
    #include <cstdint>
    #include <cstring>

    // Big-endian stores and loads; the compiler makes one instruction of each.
    static inline void put16(unsigned char* p, uint16_t v) { v = __builtin_bswap16(v); memcpy(p, &v, 2); }
    static inline void put32(unsigned char* p, uint32_t v) { v = __builtin_bswap32(v); memcpy(p, &v, 4); }
    static inline void put64(unsigned char* p, uint64_t v) { v = __builtin_bswap64(v); memcpy(p, &v, 8); }
    static inline uint16_t get16(const unsigned char* p) { uint16_t v; memcpy(&v, p, 2); return __builtin_bswap16(v); }
    static inline uint32_t get32(const unsigned char* p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
    static inline uint64_t get64(const unsigned char* p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }
    static inline void put_double(unsigned char* p, double d) { uint64_t v; memcpy(&v, &d, 8); put64(p, v); }
    static inline double get_double(const unsigned char* p) { uint64_t v = get64(p); double d; memcpy(&d, &v, 8); return d; }
    static inline float get_float(const unsigned char* p) { uint32_t v = get32(p); float d; memcpy(&d, &v, 4); return d; }

    static inline int all_ascii(const unsigned char* p, Py_ssize_t n) {
        uint64_t bits = 0;
        while (n >= 8) { uint64_t v; memcpy(&v, p, 8); bits |= v; p += 8; n -= 8; }
        while (n-- > 0) { bits |= *p++; }
        return (bits & 0x8080808080808080ull) == 0;
    }
    static inline PyObject* ascii_text(const unsigned char* p, Py_ssize_t n) {
        PyObject* text = PyUnicode_New(n, 127);
        if (text != nullptr) { memcpy(PyUnicode_1BYTE_DATA(text), p, n); }
        return text;
    }
    static inline uint32_t short_hash(const unsigned char* p, Py_ssize_t n) {
        uint32_t h = (uint32_t)n * 0x9E3779B1u;
        while (n >= 4) { uint32_t v; memcpy(&v, p, 4); h = (h ^ v) * 0x85EBCA6Bu; h ^= h >> 15; p += 4; n -= 4; }
        while (n-- > 0) { h = (h ^ *p++) * 0x01000193u; }
        return h ^ (h >> 13);
    }
    """
    void put16(uint8_t*, uint16_t) noexcept nogil
    void put32(uint8_t*, uint32_t) noexcept nogil
    void put64(uint8_t*, uint64_t) noexcept nogil
    uint16_t get16(const uint8_t*) noexcept nogil
    uint32_t get32(const uint8_t*) noexcept nogil
    uint64_t get64(const uint8_t*) noexcept nogil
    void put_double(uint8_t*, double) noexcept nogil
    double get_double(const uint8_t*) noexcept nogil
    float get_float(const uint8_t*) noexcept nogil
    bint all_ascii(const uint8_t*, Py_ssize_t) noexcept nogil
    object ascii_text(const uint8_t*, Py_ssize_t)
    uint32_t short_hash(const uint8_t*, Py_ssize_t) noexcept nogil

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(PyObject*, Py_ssize_t*) except NULL
    bint PyUnicode_Check(PyObject*) noexcept
    bint PyUnicode_CheckExact(PyObject*) noexcept
    bint PyUnicode_IS_COMPACT_ASCII(PyObject*) noexcept
    void* PyUnicode_DATA(PyObject*) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject*) noexcept
    object PyUnicode_DecodeUTF8(const char*, Py_ssize_t, const char*)
    bint PyLong_Check(PyObject*) noexcept
    bint PyLong_CheckExact(PyObject*) noexcept
    int64_t PyLong_AsLongLongAndOverflow(PyObject*, int*) except? -1
    uint64_t PyLong_AsUnsignedLongLong(PyObject*) except? <uint64_t>-1
    bint PyFloat_Check(PyObject*) noexcept
    bint PyFloat_CheckExact(PyObject*) noexcept
    double PyFloat_AS_DOUBLE(PyObject*) noexcept
    bint PyBytes_Check(PyObject*) noexcept
    bint PyByteArray_Check(PyObject*) noexcept
    bint PyMemoryView_Check(PyObject*) noexcept
    bint PyDict_CheckExact(PyObject*) noexcept
    bint PyList_Check(PyObject*) noexcept
    bint PyTuple_Check(PyObject*) noexcept
    Py_ssize_t PyList_GET_SIZE(PyObject*) noexcept
    PyObject* PyList_GET_ITEM(PyObject*, Py_ssize_t) noexcept
    Py_ssize_t PyTuple_GET_SIZE(PyObject*) noexcept
    PyObject* PyTuple_GET_ITEM(PyObject*, Py_ssize_t) noexcept
    Py_ssize_t PyDict_GET_SIZE "PyDict_Size"(PyObject*) noexcept
    int PyDict_Next(PyObject*, Py_ssize_t*, PyObject**, PyObject**) noexcept
    int PyDict_SetItem(object, object, object) except -1
    list PyList_New(Py_ssize_t)
    void PyList_SET_ITEM(object, Py_ssize_t, object)
    void Py_INCREF(object)
    void INCREF "Py_INCREF"(PyObject*) noexcept
    void DECREF "Py_DECREF"(PyObject*)
    PyObject* Py_None
    PyObject* Py_True
    PyObject* Py_False

DEF STACK_BYTES = 512            # a small record never touches the heap before the final bytes object
DEF MAX_NATIVE_DEPTH = 1024      # what the C stack of the smallest thread can bear
DEF MAX_DEFAULT_DEPTH = 8
DEF MAX_BIG_INT = 4096
DEF KEY_CACHE = 1024             # slots; a power of two
DEF KEY_CACHE_BYTES = 32         # longer keys are not cached

Limits = namedtuple(
    "Limits",
    ("max_bytes", "max_depth", "max_items", "max_key_bytes"),
    defaults=(67_108_864, 128, 1_000_000, 65_536),
    module="llmspell._core",
)
DEFAULT = Limits()

cdef object _DEFAULT = DEFAULT
cdef dict _MODULES = sys.modules


@cython.final
@cython.freelist(64)
cdef class Ext:
    """An extension value of the caller: `code` 16 to 127 and its `data`, written as they are."""

    cdef readonly int code
    cdef readonly bytes data

    def __cinit__(self, int code, bytes data not None):
        if code < 16 or code > 127:
            raise _invalid("code", code, "an integer from 16 to 127")
        self.code = code
        self.data = data

    def __eq__(self, other):
        return type(other) is Ext and self.code == (<Ext>other).code and self.data == (<Ext>other).data

    def __hash__(self):
        return hash((self.code, self.data))

    def __repr__(self):
        return f"Ext(code={self.code}, data={self.data!r})"


cdef struct Bounds:
    Py_ssize_t max_bytes
    Py_ssize_t max_items
    Py_ssize_t max_key_bytes
    int max_depth


cdef struct Frame:
    PyObject* container
    PyObject* key                # of a map; NULL in an array
    Py_ssize_t index
    Frame* parent


cdef struct Writer:
    uint8_t* data
    Py_ssize_t length
    Py_ssize_t capacity
    Py_ssize_t flushed           # bytes counted and thrown away, when only the size is wanted
    PyObject* default            # borrowed; NULL when there is none
    Frame* top
    Bounds bounds
    Py_ssize_t items
    int depth
    int default_depth
    bint on_heap
    bint counting
    uint8_t stack[STACK_BYTES]


# --- errors: imported when raised, so that loading the codec costs nothing ---

cdef object _error(str name, str message, dict details):
    from llmspell import errors
    return getattr(errors, name)(message, details=details)


cdef object _invalid(str name, object value, str allowed):
    return _error("InvalidArgument", f"{name} is {value!r}; expected {allowed}",
                  {"name": name, "value": value, "allowed": allowed})


cdef object _exceeded(str resource, object limit, object used, str where):
    return _error("LimitExceeded", f"{resource} {limit} exceeded by {used} at {where}",
                  {"resource": resource, "limit": limit, "used": used})


cdef object _malformed(Py_ssize_t offset, str reason):
    return _error("MalformedData", f"malformed MessagePack at byte {offset}: {reason}",
                  {"offset": offset, "reason": reason})


cdef str _step(object key):
    if isinstance(key, str):
        if key.isidentifier():
            return "." + key
        escaped = key.replace("\\", "\\\\").replace('"', '\\"')
        return f'["{escaped}"]'
    return f"[{key!r}]"


cdef str _path(Frame* frame):
    cdef list steps = []
    while frame != NULL:
        if frame.key != NULL:
            steps.append(_step(<object>frame.key))
        elif frame.index >= 0:
            steps.append(f"[{frame.index}]")
        frame = frame.parent
    steps.append("$")
    return "".join(reversed(steps))


cdef object _unsupported(Writer* w, object value, str why):
    path = _path(w.top)
    name = type(value).__name__
    return _error("UnsupportedType", f"{path} is a {name}: {why}", {"path": path, "type": name})


# --- writing ---

cdef int _bounds(object limits, Bounds* out) except -1:
    if limits is _DEFAULT:
        out.max_bytes = 67_108_864
        out.max_depth = 128
        out.max_items = 1_000_000
        out.max_key_bytes = 65_536
        return 0
    out.max_bytes, out.max_depth, out.max_items, out.max_key_bytes = limits
    if out.max_depth < 0 or out.max_depth > MAX_NATIVE_DEPTH:
        raise _invalid("max_depth", out.max_depth, f"0 to {MAX_NATIVE_DEPTH}")
    if out.max_bytes < 0 or out.max_items < 0 or out.max_key_bytes < 0:
        raise _invalid("limits", limits, "numbers of at least 0")
    return 0


cdef int _grow(Writer* w, Py_ssize_t extra) except -1:
    cdef Py_ssize_t need = w.length + extra
    cdef Py_ssize_t capacity
    cdef uint8_t* moved
    if need + w.flushed > w.bounds.max_bytes:
        raise _exceeded("max_bytes", w.bounds.max_bytes, need + w.flushed, _path(w.top))
    if need <= w.capacity:
        return 0
    if w.counting:
        w.flushed += w.length
        w.length = 0
        if extra <= w.capacity:
            return 0
        need = extra
    capacity = max(need, min(max(need + (need >> 1), 2 * STACK_BYTES), w.bounds.max_bytes))
    moved = <uint8_t*>PyMem_Realloc(w.data if w.on_heap else NULL, capacity)
    if moved == NULL:
        raise MemoryError
    if not w.on_heap:
        memcpy(moved, w.stack, w.length)
        w.on_heap = True
    w.data = moved
    w.capacity = capacity
    return 0


cdef inline int _reserve(Writer* w, Py_ssize_t extra) except -1:
    if w.length + extra > w.capacity:
        return _grow(w, extra)
    return 0


cdef inline int _put_byte(Writer* w, uint8_t value) except -1:
    _reserve(w, 1)
    w.data[w.length] = value
    w.length += 1
    return 0


cdef inline int _put_head(Writer* w, uint8_t tag, int width, uint64_t value) except -1:
    # tag followed by `width` bytes of big-endian value
    cdef uint8_t* p
    _reserve(w, 1 + width)
    p = w.data + w.length
    p[0] = tag
    if width == 1:
        p[1] = <uint8_t>value
    elif width == 2:
        put16(p + 1, <uint16_t>value)
    elif width == 4:
        put32(p + 1, <uint32_t>value)
    else:
        put64(p + 1, value)
    w.length += 1 + width
    return 0


cdef inline int _put_raw(Writer* w, const void* data, Py_ssize_t size) except -1:
    _reserve(w, size)
    memcpy(w.data + w.length, data, size)
    w.length += size
    return 0


cdef inline int _put_text(Writer* w, const char* data, Py_ssize_t size) except -1:
    cdef uint8_t* p
    if size < 32:
        _reserve(w, size + 1)
        p = w.data + w.length
        p[0] = 0xA0 | <uint8_t>size
        memcpy(p + 1, data, size)
        w.length += size + 1
        return 0
    if size < 0x100:
        _put_head(w, 0xD9, 1, size)
    elif size < 0x10000:
        _put_head(w, 0xDA, 2, size)
    elif size <= <Py_ssize_t>0xFFFFFFFF:
        _put_head(w, 0xDB, 4, size)
    else:
        raise _exceeded("max_bytes", 0xFFFFFFFF, size, _path(w.top))
    return _put_raw(w, data, size)


cdef int _put_bytes(Writer* w, const char* data, Py_ssize_t size) except -1:
    if size < 0x100:
        _put_head(w, 0xC4, 1, size)
    elif size < 0x10000:
        _put_head(w, 0xC5, 2, size)
    elif size <= <Py_ssize_t>0xFFFFFFFF:
        _put_head(w, 0xC6, 4, size)
    else:
        raise _exceeded("max_bytes", 0xFFFFFFFF, size, _path(w.top))
    return _put_raw(w, data, size)


cdef int _put_ext(Writer* w, int code, const char* data, Py_ssize_t size) except -1:
    cdef uint8_t fixed = 0
    if size == 1:
        fixed = 0xD4
    elif size == 2:
        fixed = 0xD5
    elif size == 4:
        fixed = 0xD6
    elif size == 8:
        fixed = 0xD7
    elif size == 16:
        fixed = 0xD8
    if fixed:
        _put_byte(w, fixed)
    elif size < 0x100:
        _put_head(w, 0xC7, 1, size)
    elif size < 0x10000:
        _put_head(w, 0xC8, 2, size)
    elif size <= <Py_ssize_t>0xFFFFFFFF:
        _put_head(w, 0xC9, 4, size)
    else:
        raise _exceeded("max_bytes", 0xFFFFFFFF, size, _path(w.top))
    _put_byte(w, <uint8_t>code)
    return _put_raw(w, data, size)


cdef int _put_int(Writer* w, PyObject* value) except -1:
    cdef int overflow = 0
    cdef int64_t n = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow == 0:
        if n >= 0:
            return _put_unsigned(w, <uint64_t>n)
        if n >= -32:
            return _put_byte(w, <uint8_t>n)
        if n >= -0x80:
            return _put_head(w, 0xD0, 1, <uint64_t>n)
        if n >= -0x8000:
            return _put_head(w, 0xD1, 2, <uint64_t>n)
        if n >= -<int64_t>0x80000000:
            return _put_head(w, 0xD2, 4, <uint64_t>n)
        return _put_head(w, 0xD3, 8, <uint64_t>n)
    number = <object>value
    if overflow > 0 and number.bit_length() <= 64:
        return _put_head(w, 0xCF, 8, PyLong_AsUnsignedLongLong(value))
    size = (number.bit_length() + 7) // 8
    if size > MAX_BIG_INT:
        raise _exceeded("max_int_bytes", MAX_BIG_INT, size, _path(w.top))
    raw = (b"\x01" if overflow < 0 else b"\x00") + abs(int(number)).to_bytes(size, "big")
    return _put_ext(w, 2, PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw))


cdef inline int _put_unsigned(Writer* w, uint64_t n) except -1:
    if n < 0x80:
        return _put_byte(w, <uint8_t>n)
    if n < 0x100:
        return _put_head(w, 0xCC, 1, n)
    if n < 0x10000:
        return _put_head(w, 0xCD, 2, n)
    if n < 0x100000000ull:
        return _put_head(w, 0xCE, 4, n)
    return _put_head(w, 0xCF, 8, n)


cdef inline int _put_count(Writer* w, uint8_t small, uint8_t wide, Py_ssize_t count) except -1:
    # head of an array (0x90, 0xDC) or a map (0x80, 0xDE)
    w.items += count
    if w.items > w.bounds.max_items:
        raise _exceeded("max_items", w.bounds.max_items, w.items, _path(w.top))
    if count < 16:
        return _put_byte(w, small | <uint8_t>count)
    if count < 0x10000:
        return _put_head(w, wide, 2, count)
    if count <= <Py_ssize_t>0xFFFFFFFF:
        return _put_head(w, wide + 1, 4, count)
    raise _exceeded("max_items", 0xFFFFFFFF, count, _path(w.top))


cdef int _open(Writer* w, Frame* frame, PyObject* container) except -1:
    # enters a container: depth, then the ancestors
    cdef Frame* ancestor = w.top
    cdef bint cyclic = False
    while ancestor != NULL:
        if ancestor.container == container:
            cyclic = True
            break
        ancestor = ancestor.parent
    if cyclic:
        path, target = _path(w.top), _path(ancestor.parent)
        raise _error("CycleError", f"{path} refers back to {target}; expected a value without cycles",
                     {"path": path, "target": target})
    if w.depth >= w.bounds.max_depth:
        raise _exceeded("max_depth", w.bounds.max_depth, w.depth + 1, _path(w.top))
    frame.container = container
    frame.key = NULL
    frame.index = -1
    frame.parent = w.top
    w.top = frame
    w.depth += 1
    return 0


cdef inline void _close(Writer* w) noexcept:
    w.top = w.top.parent
    w.depth -= 1


cdef int _changed(Writer* w) except -1:
    raise _error("Conflict", f"{_path(w.top.parent)} was changed while it was being encoded; try again",
                 {"key": _path(w.top.parent)})


cdef int _put_list(Writer* w, PyObject* value) except -1:
    cdef Frame frame
    cdef Py_ssize_t count = PyList_GET_SIZE(value), i
    cdef PyObject* item
    _open(w, &frame, value)
    _put_count(w, 0x90, 0xDC, count)
    for i in range(count):
        if PyList_GET_SIZE(value) != count:
            _changed(w)
        frame.index = i
        item = PyList_GET_ITEM(value, i)
        INCREF(item)
        try:
            _put(w, item)
        finally:
            DECREF(item)
    if PyList_GET_SIZE(value) != count:
        _changed(w)
    _close(w)
    return 0


cdef int _put_tuple(Writer* w, PyObject* value) except -1:
    cdef Frame frame
    cdef Py_ssize_t count = PyTuple_GET_SIZE(value), i
    _open(w, &frame, value)
    _put_count(w, 0x90, 0xDC, count)
    for i in range(count):
        frame.index = i
        _put(w, PyTuple_GET_ITEM(value, i))
    _close(w)
    return 0


cdef int _put_dict(Writer* w, PyObject* value) except -1:
    cdef Frame frame
    cdef Py_ssize_t count = PyDict_GET_SIZE(value), position = 0, done = 0
    cdef PyObject* key
    cdef PyObject* item
    _open(w, &frame, value)
    _put_count(w, 0x80, 0xDE, count)
    while PyDict_Next(value, &position, &key, &item):
        if done == count:
            _changed(w)
        INCREF(key)
        INCREF(item)
        try:
            frame.key = key
            _put_key(w, key)
            _put(w, item)
        finally:
            frame.key = NULL
            DECREF(key)
            DECREF(item)
        done += 1
    if done != count or PyDict_GET_SIZE(value) != count:
        _changed(w)
    _close(w)
    return 0


cdef int _put_mapping(Writer* w, object value) except -1:
    # the pairs are copied first: its methods are Python code that may do anything
    cdef Frame frame
    cdef list pairs = list(value.items())
    _open(w, &frame, <PyObject*>value)
    _put_count(w, 0x80, 0xDE, len(pairs))
    for key, item in pairs:
        frame.key = <PyObject*>key
        _put_key(w, <PyObject*>key)
        _put(w, <PyObject*>item)
    frame.key = NULL
    _close(w)
    return 0


cdef inline const char* _utf8(Writer* w, PyObject* text, Py_ssize_t* size) except NULL:
    if PyUnicode_IS_COMPACT_ASCII(text):
        size[0] = PyUnicode_GET_LENGTH(text)
        return <const char*>PyUnicode_DATA(text)
    return _utf8_slow(w, text, size)


cdef const char* _utf8_slow(Writer* w, PyObject* text, Py_ssize_t* size) except NULL:
    try:
        return PyUnicode_AsUTF8AndSize(text, size)
    except UnicodeEncodeError as error:
        raise _unsupported(w, <object>text, "lone surrogates have no UTF-8 form") from error


cdef int _put_key(Writer* w, PyObject* key) except -1:
    cdef Py_ssize_t size = 0
    cdef const char* data
    if PyUnicode_Check(key):
        data = _utf8(w, key, &size)
        if size > w.bounds.max_key_bytes:
            raise _exceeded("max_key_bytes", w.bounds.max_key_bytes, size, _path(w.top.parent))
        return _put_text(w, data, size)
    if key == Py_True:
        return _put_byte(w, 0xC3)
    if key == Py_False:
        return _put_byte(w, 0xC2)
    if PyLong_Check(key):
        return _put_int(w, key)
    if PyBytes_Check(key):
        size = PyBytes_GET_SIZE(<object>key)
        if size > w.bounds.max_key_bytes:
            raise _exceeded("max_key_bytes", w.bounds.max_key_bytes, size, _path(w.top.parent))
        return _put_bytes(w, PyBytes_AS_STRING(<object>key), size)
    raise _unsupported(w, <object>key, "it cannot be a map key; expected str, int, bool or bytes")


cdef int _put(Writer* w, PyObject* value) except -1:
    cdef Py_ssize_t size = 0
    cdef const char* data
    cdef uint8_t* p
    if PyUnicode_CheckExact(value):
        data = _utf8(w, value, &size)
        return _put_text(w, data, size)
    if PyLong_CheckExact(value):
        return _put_int(w, value)
    if PyDict_CheckExact(value):
        return _put_dict(w, value)
    if value == Py_None:
        return _put_byte(w, 0xC0)
    if value == Py_True:
        return _put_byte(w, 0xC3)
    if value == Py_False:
        return _put_byte(w, 0xC2)
    if PyFloat_CheckExact(value):
        _reserve(w, 9)
        p = w.data + w.length
        p[0] = 0xCB
        put_double(p + 1, PyFloat_AS_DOUBLE(value))
        w.length += 9
        return 0
    if PyList_Check(value):
        return _put_list(w, value)
    if PyTuple_Check(value):
        return _put_tuple(w, value)
    return _put_rare(w, <object>value)


cdef int _put_rare(Writer* w, object value) except -1:
    cdef PyObject* raw = <PyObject*>value
    cdef Py_ssize_t size = 0
    cdef const char* data
    cdef Py_buffer view
    if type(value) is Ext:
        return _put_ext(w, (<Ext>value).code, PyBytes_AS_STRING((<Ext>value).data), PyBytes_GET_SIZE((<Ext>value).data))
    if PyBytes_Check(raw):
        return _put_bytes(w, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    if PyUnicode_Check(raw):
        data = _utf8(w, raw, &size)
        return _put_text(w, data, size)
    if PyLong_Check(raw):
        return _put_int(w, raw)
    if PyFloat_Check(raw):
        return _put_head(w, 0xCB, 8, _bits(PyFloat_AS_DOUBLE(raw)))
    if PyMemoryView_Check(raw) and not value.c_contiguous:
        value = value.tobytes()
        raw = <PyObject*>value
    if PyByteArray_Check(raw) or PyMemoryView_Check(raw) or PyBytes_Check(raw):
        PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
        try:
            return _put_bytes(w, <const char*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
    return _put_known(w, value)


cdef inline uint64_t _bits(double value) noexcept:
    cdef uint64_t out
    memcpy(&out, &value, 8)
    return out


cdef bint _is(object value, str module, str name) except -1:
    # a value of a class exists only after its module was imported
    loaded = _MODULES.get(module)
    if loaded is None:
        return False
    cls = getattr(loaded, name, None)
    return cls is not None and isinstance(value, cls)


cdef int _put_known(Writer* w, object value) except -1:
    if _is(value, "_collections_abc", "Mapping"):
        return _put_mapping(w, value)
    if _is(value, "datetime", "datetime") and value.tzinfo is not None and value.utcoffset() is not None:
        return _put_datetime(w, value)
    if _is(value, "uuid", "UUID"):
        raw = <bytes>value.bytes
        return _put_ext(w, 3, PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw))
    if _is(value, "decimal", "Decimal"):
        raw = str(value).encode("ascii")
        return _put_ext(w, 4, PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw))
    if _is(value, "numpy", "generic"):
        plain = value.item()
        if type(plain) in (bool, int, float, str, bytes):
            return _put(w, <PyObject*>plain)
    elif _is(value, "numpy", "ndarray") and value.ndim == 1 and value.dtype.str in ("<f4", "<i8", ">f4", ">i8"):
        kind = value.dtype.str[1:]
        raw = (b"\x00" if kind == "f4" else b"\x01") + value.astype("<" + kind).tobytes()
        return _put_ext(w, 5, PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw))
    return _put_default(w, value)


cdef int _put_default(Writer* w, object value) except -1:
    if w.default == NULL:
        raise _unsupported(w, value, "it has no encoding; expected plain data")
    if w.default_depth >= MAX_DEFAULT_DEPTH:
        raise _unsupported(w, value, f"`default` was already called {MAX_DEFAULT_DEPTH} deep")
    converted = (<object>w.default)(value)
    w.default_depth += 1
    _put(w, <PyObject*>converted)
    w.default_depth -= 1
    return 0


cdef int _put_datetime(Writer* w, object value) except -1:
    cdef uint8_t raw[12]
    from datetime import datetime, timezone
    delta = value - datetime(1970, 1, 1, tzinfo=timezone.utc)
    cdef int64_t seconds = delta.days * 86400 + delta.seconds
    cdef uint64_t nanoseconds = delta.microseconds * 1000
    if 0 <= seconds < (<int64_t>1 << 32) and nanoseconds == 0:
        put32(raw, <uint32_t>seconds)
        return _put_ext(w, -1, <char*>raw, 4)
    if 0 <= seconds < (<int64_t>1 << 34):
        put64(raw, nanoseconds << 34 | <uint64_t>seconds)
        return _put_ext(w, -1, <char*>raw, 8)
    put32(raw, <uint32_t>nanoseconds)
    put64(raw + 4, <uint64_t>seconds)
    return _put_ext(w, -1, <char*>raw, 12)


cdef int _start(Writer* w, object limits, object default) except -1:
    _bounds(limits, &w.bounds)
    w.data = w.stack
    w.length = 0
    w.flushed = 0
    w.default = <PyObject*>NULL
    if default is not None:
        w.default = <PyObject*>default
    w.top = NULL
    w.items = 0
    w.depth = 0
    w.default_depth = 0
    w.on_heap = False
    w.counting = False
    # while the limit is smaller than the buffer, every write passes through _grow
    w.capacity = min(STACK_BYTES, w.bounds.max_bytes)
    return 0


def pack(value, *, limits=DEFAULT, default=None):
    """Encode a value as MessagePack.

    default: called with a value that has no encoding; returns one that has, or an Ext.
    Raises CycleError, UnsupportedType, LimitExceeded, Conflict, each naming the path.
    """
    cdef Writer w
    _start(&w, limits, default)
    try:
        _put(&w, <PyObject*>value)
        if w.length > w.bounds.max_bytes:
            raise _exceeded("max_bytes", w.bounds.max_bytes, w.length, "$")
        return PyBytes_FromStringAndSize(<char*>w.data, w.length)
    finally:
        if w.on_heap:
            PyMem_Free(w.data)


def check(value, *, limits=DEFAULT):
    """Return the size in bytes that `pack` would give; raises the same errors."""
    cdef Writer w
    _start(&w, limits, None)
    w.counting = True
    try:
        _put(&w, <PyObject*>value)
        if w.length + w.flushed > w.bounds.max_bytes:
            raise _exceeded("max_bytes", w.bounds.max_bytes, w.length + w.flushed, "$")
        return w.length + w.flushed
    finally:
        if w.on_heap:
            PyMem_Free(w.data)


# --- reading ---

cdef struct Reader:
    const uint8_t* at
    const uint8_t* start
    const uint8_t* end
    PyObject* ext                # borrowed; NULL when there is none
    Bounds bounds
    Py_ssize_t items
    int depth


cdef PyObject* _key_cache[KEY_CACHE]


cdef int _need(Reader* r, Py_ssize_t size) except -1:
    raise _malformed(r.at - r.start, f"{size} bytes are needed, {r.end - r.at} are left")


cdef inline const uint8_t* _take(Reader* r, Py_ssize_t size) except NULL:
    cdef const uint8_t* p = r.at
    if r.end - p < size:
        _need(r, size)
    r.at = p + size
    return p


cdef object _text_slow(Reader* r, const uint8_t* p, Py_ssize_t size):
    try:
        return PyUnicode_DecodeUTF8(<const char*>p, size, NULL)
    except UnicodeDecodeError as error:
        raise _malformed(p - r.start + error.start, "the text is not UTF-8") from error


cdef inline object _text(Reader* r, Py_ssize_t size):
    cdef const uint8_t* p = _take(r, size)
    if all_ascii(p, size):
        return ascii_text(p, size)
    return _text_slow(r, p, size)


cdef inline object _key_text(Reader* r, Py_ssize_t size):
    # the same few keys come back in every record: short ones are kept, by content
    cdef const uint8_t* p
    cdef PyObject* known
    cdef uint32_t slot
    if size > r.bounds.max_key_bytes:
        raise _exceeded("max_key_bytes", r.bounds.max_key_bytes, size, f"byte {r.at - r.start}")
    if size == 0 or size > KEY_CACHE_BYTES:
        return _text(r, size)
    p = _take(r, size)
    slot = short_hash(p, size) & (KEY_CACHE - 1)
    known = _key_cache[slot]
    if known != NULL and PyUnicode_GET_LENGTH(known) == size and memcmp(PyUnicode_DATA(known), p, size) == 0:
        return <object>known
    if not all_ascii(p, size):
        return _text_slow(r, p, size)
    text = ascii_text(p, size)
    hash(text)
    INCREF(<PyObject*>text)
    _key_cache[slot] = <PyObject*>text
    if known != NULL:
        DECREF(known)
    return text


cdef object _key(Reader* r):
    cdef const uint8_t* p = r.at
    cdef uint8_t tag
    if p == r.end:
        _need(r, 1)
    tag = p[0]
    if tag & 0xE0 == 0xA0:
        r.at += 1
        return _key_text(r, tag & 0x1F)
    if tag == 0xD9:
        return _key_text(r, (_take(r, 2) + 1)[0])
    if tag == 0xDA:
        return _key_text(r, get16(_take(r, 3) + 1))
    if tag == 0xDB:
        return _key_text(r, get32(_take(r, 5) + 1))
    if tag < 0x80 or tag >= 0xE0 or tag == 0xC2 or tag == 0xC3 or 0xCC <= tag <= 0xD3 or 0xC4 <= tag <= 0xC6:
        key = _read(r)
        if type(key) is bytes and len(key) > r.bounds.max_key_bytes:
            raise _exceeded("max_key_bytes", r.bounds.max_key_bytes, len(key), f"byte {p - r.start}")
        return key
    if 0xC7 <= tag <= 0xC9:
        key = _read(r)
        if type(key) is int:
            return key
    raise _malformed(p - r.start, "a map key must be str, int, bool or bytes")


cdef int _enter(Reader* r, Py_ssize_t count, int width) except -1:
    # counts a container before anything is allocated for it
    if r.depth >= r.bounds.max_depth:
        raise _exceeded("max_depth", r.bounds.max_depth, r.depth + 1, f"byte {r.at - r.start}")
    if count * width > r.end - r.at:
        raise _malformed(r.at - r.start, f"{count} elements do not fit in the {r.end - r.at} bytes left")
    r.items += count
    if r.items > r.bounds.max_items:
        raise _exceeded("max_items", r.bounds.max_items, r.items, f"byte {r.at - r.start}")
    r.depth += 1
    return 0


cdef object _array(Reader* r, Py_ssize_t count):
    cdef Py_ssize_t i
    _enter(r, count, 1)
    cdef list out = PyList_New(count)
    for i in range(count):
        item = _read(r)
        Py_INCREF(item)
        PyList_SET_ITEM(out, i, item)
    r.depth -= 1
    return out


cdef object _map(Reader* r, Py_ssize_t count):
    cdef Py_ssize_t i, start = r.at - r.start
    cdef dict out = {}
    _enter(r, count, 2)
    for i in range(count):
        key = _key(r)
        PyDict_SetItem(out, key, _read(r))
    if len(out) != count:
        raise _malformed(start, "a map key is repeated")
    r.depth -= 1
    return out


cdef object _read(Reader* r):
    cdef uint8_t tag = _take(r, 1)[0]
    if tag < 0x80:
        return tag
    if tag >= 0xE0:
        return <int>tag - 0x100
    if tag >= 0xA0 and tag < 0xC0:
        return _text(r, tag & 0x1F)
    if tag < 0x90:
        return _map(r, tag & 0x0F)
    if tag < 0xA0:
        return _array(r, tag & 0x0F)
    return _read_wide(r, tag)


cdef object _read_wide(Reader* r, uint8_t tag):
    if tag == 0xC0:
        return None
    elif tag == 0xC1:
        raise _malformed(r.at - r.start - 1, "0xC1 is reserved")
    elif tag == 0xC2:
        return False
    elif tag == 0xC3:
        return True
    elif tag == 0xC4:
        return _bytes(r, _take(r, 1)[0])
    elif tag == 0xC5:
        return _bytes(r, get16(_take(r, 2)))
    elif tag == 0xC6:
        return _bytes(r, get32(_take(r, 4)))
    elif tag == 0xC7:
        return _ext(r, _take(r, 1)[0])
    elif tag == 0xC8:
        return _ext(r, get16(_take(r, 2)))
    elif tag == 0xC9:
        return _ext(r, get32(_take(r, 4)))
    elif tag == 0xCA:
        return <double>get_float(_take(r, 4))
    elif tag == 0xCB:
        return get_double(_take(r, 8))
    elif tag == 0xCC:
        return _take(r, 1)[0]
    elif tag == 0xCD:
        return get16(_take(r, 2))
    elif tag == 0xCE:
        return get32(_take(r, 4))
    elif tag == 0xCF:
        return get64(_take(r, 8))
    elif tag == 0xD0:
        return <int64_t>(<signed char>_take(r, 1)[0])
    elif tag == 0xD1:
        return <int64_t>(<short>get16(_take(r, 2)))
    elif tag == 0xD2:
        return <int64_t>(<int32_t>get32(_take(r, 4)))
    elif tag == 0xD3:
        return <int64_t>get64(_take(r, 8))
    elif tag <= 0xD8:
        return _ext(r, 1 << (tag - 0xD4))
    elif tag == 0xD9:
        return _text(r, _take(r, 1)[0])
    elif tag == 0xDA:
        return _text(r, get16(_take(r, 2)))
    elif tag == 0xDB:
        return _text(r, get32(_take(r, 4)))
    elif tag == 0xDC:
        return _array(r, get16(_take(r, 2)))
    elif tag == 0xDD:
        return _array(r, get32(_take(r, 4)))
    elif tag == 0xDE:
        return _map(r, get16(_take(r, 2)))
    return _map(r, get32(_take(r, 4)))


cdef object _bytes(Reader* r, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<const char*>_take(r, size), size)


cdef object _ext(Reader* r, Py_ssize_t size):
    cdef Py_ssize_t offset = r.at - r.start
    cdef int code = <signed char>_take(r, 1)[0]
    data = _bytes(r, size)
    if code == -1:
        return _timestamp(offset, data)
    if code == 2:
        if size < 1 or size > MAX_BIG_INT + 1 or data[0] > 1:
            raise _malformed(offset, "bad big integer")
        number = int.from_bytes(data[1:], "big")
        return -number if data[0] else number
    if code == 3 and size == 16:
        from uuid import UUID
        return UUID(bytes=data)
    if code == 4:
        return _decimal(offset, data)
    if code == 5:
        return _numpy(offset, data)
    if r.ext != NULL and code >= 16:
        return (<object>r.ext)(code, data)
    raise _malformed(offset, f"unknown extension {code} of {size} bytes")


cdef object _decimal(Py_ssize_t offset, bytes data):
    from decimal import Decimal, InvalidOperation
    if not data or data.strip() != data or b"_" in data:
        raise _malformed(offset, "bad decimal")
    try:
        return Decimal(data.decode("ascii"))
    except (InvalidOperation, ValueError) as error:
        raise _malformed(offset, "bad decimal") from error


cdef object _numpy(Py_ssize_t offset, bytes data):
    if not data or data[0] > 1 or (len(data) - 1) % (8 if data[0] else 4):
        raise _malformed(offset, "bad array")
    import numpy
    kind = "i8" if data[0] else "f4"
    return numpy.frombuffer(data, dtype="<" + kind, offset=1).astype(kind)


cdef object _timestamp(Py_ssize_t offset, bytes data):
    cdef const uint8_t* p = <const uint8_t*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef int64_t seconds = 0
    cdef uint64_t nanoseconds = 0
    if size == 4:
        seconds = get32(p)
    elif size == 8:
        nanoseconds = get64(p) >> 34
        seconds = <int64_t>(get64(p) & ((<uint64_t>1 << 34) - 1))
    elif size == 12:
        nanoseconds = get32(p)
        seconds = <int64_t>get64(p + 4)
    if size not in (4, 8, 12) or nanoseconds > 999_999_999:
        raise _malformed(offset, "bad timestamp")
    if not -62_135_596_800 <= seconds <= 253_402_300_799:
        raise _malformed(offset, "the timestamp is outside the years 1 to 9999")
    from datetime import datetime, timedelta, timezone
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)


def unpack(data, *, limits=DEFAULT, ext=None):
    """Decode MessagePack from bytes, bytearray, memoryview or any C-contiguous buffer.

    ext: called with (code, data) for extension codes 16 to 127, which are otherwise malformed.
    Raises MalformedData with the offset, LimitExceeded.
    """
    cdef Reader r
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        _bounds(limits, &r.bounds)
        if view.len > r.bounds.max_bytes:
            raise _exceeded("max_bytes", r.bounds.max_bytes, view.len, "byte 0")
        r.at = r.start = <const uint8_t*>view.buf
        r.end = r.start + view.len
        r.ext = <PyObject*>NULL
        if ext is not None:
            r.ext = <PyObject*>ext
        r.items = 0
        r.depth = 0
        out = _read(&r)
        if r.at != r.end:
            raise _malformed(r.at - r.start, f"{r.end - r.at} bytes after the value")
        return out
    finally:
        PyBuffer_Release(&view)
