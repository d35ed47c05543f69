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

cdef extern from "cy/wire.h":
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


# Errors are imported when raised, so that loading the codec costs nothing.

cdef object _error(str name, str message, dict details):
    from llmspell import errors
    return getattr(errors, name)(message, details=details)


cdef object _invalid(str name, object value, str allowed):
    return _error("InvalidArgument", f"{name} is {value!r}; expected {allowed}",
                  {"name": name, "value": value, "allowed": allowed})


cdef object _exceeded(str resource, object limit, object used, str where):
    return _error("LimitExceeded", f"{resource} would be {used} at {where}; the limit is {limit}",
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


include "write.pxi"
include "rare.pxi"
include "read.pxi"


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
