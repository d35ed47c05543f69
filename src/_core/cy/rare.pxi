# Writing what is rare: subclasses, buffers, dates, numbers of other libraries, and what `default` converts.
# Included by _codec.pyx.

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
