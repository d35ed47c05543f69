# Writing: one function per kind of value, each knowing only the Writer. Included by _codec.pyx.

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
