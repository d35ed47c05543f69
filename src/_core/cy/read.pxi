# Reading: bounds before use, counts before memory. Included by _codec.pyx.

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
