from __future__ import annotations

import collections
import math
import random
import struct
import sys
import threading
import types
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import errors
from llmspell._core import Ext, Limits, check, pack, unpack

keys = st.one_of(st.text(), st.integers(-(2**63), 2**64 - 1), st.binary())
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.uuids(),
    st.datetimes(timezones=st.just(UTC)),
    st.decimals(allow_nan=False),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=25,
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=20), st.dictionaries(st.text(), inner, max_size=20)),
    max_leaves=60,
)


def same(left, right):
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, Decimal):
        return left.as_tuple() == right.as_tuple()
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right)
    return left == right


@settings(max_examples=150, deadline=None)
@given(values)
def test_every_supported_value_comes_back_with_its_types(value):
    data = pack(value)
    assert same(unpack(data), value)
    assert check(value) == len(data)


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_json_like_values_are_read_by_another_reader_and_the_reverse(value):
    assert same(msgspec.msgpack.decode(pack(value)), value)
    assert same(unpack(msgspec.msgpack.encode(value)), value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_crash_the_decoder(data):
    try:
        value = unpack(data)
    except (errors.MalformedData, errors.LimitExceeded):
        return
    assert same(unpack(pack(value)), value) or value != value or "nan" in repr(value).lower()


def test_altered_bytes_of_a_real_document_never_crash():
    source = random.Random(5)
    document = pack({"a": [1, 2.5, "text", b"raw", None, True, {"k": uuid.UUID(int=3), "d": Decimal("1.5")}], 7: [[]]})
    for _ in range(3000):
        data = bytearray(document)
        for _ in range(source.randint(1, 3)):
            data[source.randrange(len(data))] = source.randrange(256)
        try:
            unpack(bytes(data[: source.randint(1, len(data))]))
        except (errors.MalformedData, errors.LimitExceeded):
            continue


@pytest.mark.parametrize("special", [-0.0, math.inf, -math.inf, 5e-324])
def test_special_floats_keep_their_bits(special):
    assert struct.pack("d", unpack(pack(special))) == struct.pack("d", special)


def test_nan_stays_nan():
    assert math.isnan(unpack(pack(math.nan)))


@pytest.mark.parametrize("edge", [2**n + d for n in (0, 5, 7, 8, 15, 16, 31, 32, 63, 64, 100) for d in (-1, 0, 1)])
def test_integers_at_the_edges_come_back(edge):
    assert unpack(pack(edge)) == edge
    assert unpack(pack(-edge)) == -edge


def test_a_bool_is_not_an_int():
    assert unpack(pack([True, 1, {True: 1}])) == [True, 1, {True: 1}]
    assert type(unpack(pack({True: 1})).popitem()[0]) is bool


def test_tuples_mappings_and_subclasses_are_written_like_their_plain_kin():
    ordered = collections.OrderedDict(b=1, a=2)
    ordered.move_to_end("b")
    value = [(1, 2), types.MappingProxyType({"x": 1}), ordered, bytearray(b"q"), memoryview(b"abcdef")[::2]]
    got = unpack(pack(value))
    assert got == [[1, 2], {"x": 1}, {"a": 2, "b": 1}, b"q", b"ace"]
    assert list(got[2]) == ["a", "b"]


def test_an_aware_datetime_comes_back_as_utc():
    for moment in (
        datetime(2025, 1, 1, tzinfo=UTC),
        datetime(1901, 2, 3, 4, 5, 6, 7, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ):
        assert unpack(pack(moment)) == moment
    local = datetime(2025, 6, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    assert unpack(pack(local)) == local
    assert unpack(pack(local)).tzinfo is UTC


def test_numpy_scalars_become_plain_and_vectors_stay_arrays():
    assert unpack(pack([np.float32(0.5), np.int16(-3), np.bool_(True)])) == [0.5, -3, True]
    for dtype in (np.float32, np.int64):
        array = np.arange(-2, 5).astype(dtype)
        back = unpack(pack(array))
        assert back.dtype == dtype
        assert back.tolist() == array.tolist()
    with pytest.raises(errors.UnsupportedType):
        pack(np.zeros((2, 2), np.float32))
    with pytest.raises(errors.UnsupportedType):
        pack(np.longdouble(1))


def test_a_cycle_names_where_it_closes_and_what_it_refers_to():
    inner: dict[str, object] = {}
    value = {"a": inner}
    inner["b"] = [0, 1, {"c": None}]
    inner["b"][2]["c"] = inner
    with pytest.raises(errors.CycleError) as caught:
        pack(value)
    assert caught.value.details["path"] == "$.a.b[2].c"
    assert caught.value.details["target"] == "$.a"


def test_shared_references_are_not_cycles():
    shared = [1]
    assert unpack(pack([shared, shared])) == [[1], [1]]


def test_odd_keys_are_quoted_in_a_path():
    with pytest.raises(errors.UnsupportedType) as caught:
        pack({"x y": [{3: object()}]})
    assert caught.value.details == {"path": '$["x y"][0][3]', "type": "object", "code": "unsupported_type"}


@pytest.mark.parametrize(
    "bad", [{1, 2}, datetime(2025, 1, 1), print, object(), "\ud800", {"\udfff": 1}, {None: 1}, {1.5: 1}]
)
def test_values_without_an_encoding_are_refused(bad):
    with pytest.raises(errors.UnsupportedType):
        pack([bad])


@pytest.mark.parametrize("work", [pack, check, lambda value, limits: unpack(pack(value), limits=limits)])
@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("max_depth", [[[]]], Limits(max_depth=2)),
        ("max_items", [1, [2, 3]], Limits(max_items=3)),
        ("max_bytes", "x" * 100, Limits(max_bytes=100)),
        ("max_bytes", list(range(5000)), Limits(max_bytes=600)),
        ("max_key_bytes", {"abcd": 1}, Limits(max_key_bytes=3)),
    ],
)
def test_each_limit_is_named(work, name, value, limits):
    with pytest.raises(errors.LimitExceeded) as caught:
        work(value, limits=limits)
    assert caught.value.details["resource"] == name


def test_a_value_exactly_at_the_byte_limit_is_accepted():
    for value in (200, "x" * 31, list(range(3000)), {"a": 2.5}):
        size = len(pack(value))
        assert len(pack(value, limits=Limits(max_bytes=size))) == check(value, limits=Limits(max_bytes=size)) == size
        with pytest.raises(errors.LimitExceeded):
            pack(value, limits=Limits(max_bytes=size - 1))


def test_absurd_limits_are_refused():
    with pytest.raises(errors.InvalidArgument):
        pack(1, limits=Limits(max_depth=5000))
    with pytest.raises(errors.LimitExceeded):
        pack(1 << 40000)


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"", 0),
        (b"\xc1", 0),
        (b"\x01\x02", 1),
        (b"\xa2\xff\xfe", 1),
        (b"\x93\x01\x02", 1),
        (b"\xdd\xff\xff\xff\xff", 5),
        (b"\xc6\xff\xff\xff\xff", 5),
        (b"\x82\xa1a\x01\xa1a\x02", 1),
        (b"\x81\xc0\x01", 1),
        (b"\x81\xcb" + b"\0" * 9, 1),
        (b"\xd4\x63\x00", 1),
        (b"\xd6\xff\0\0\0", 2),
    ],
)
def test_malformed_bytes_name_their_offset(data, offset):
    with pytest.raises(errors.MalformedData) as caught:
        unpack(data)
    assert caught.value.details["offset"] == offset


class Handle:
    def __init__(self, number):
        self.number = number


def test_an_extension_goes_out_through_default_and_comes_back_through_ext():
    def outward(value):
        return Ext(17, pack([value.number, "nested"]))

    def inward(code, data):
        return (code, unpack(data))

    data = pack({"h": [Handle(4)]}, default=outward)
    assert unpack(data, ext=inward) == {"h": [(17, [4, "nested"])]}
    with pytest.raises(errors.MalformedData):
        unpack(data)


def test_default_may_return_any_encodable_value_but_not_forever():
    assert unpack(pack({3, 4}, default=sorted)) == [3, 4]
    with pytest.raises(errors.UnsupportedType) as caught:
        pack(object(), default=lambda _: [object()])
    assert caught.value.details["path"] == "$" + "[0]" * 8


def test_an_exception_of_default_passes_unchanged():
    with pytest.raises(KeyError):
        pack(object(), default=lambda _: {}["no"])


def test_extension_codes_of_the_codec_cannot_be_forged():
    for code in (-1, 2, 15, 128):
        with pytest.raises(errors.InvalidArgument):
            Ext(code, b"")
    assert Ext(16, b"x") == Ext(16, b"x") != Ext(17, b"x")


def test_a_container_changed_during_encoding_is_a_conflict_not_a_crash():
    lists: list[object] = [object(), 1, 2]
    dicts: dict[str, object] = {"a": object(), "b": 1, "c": 2}
    with pytest.raises(errors.Conflict):
        pack(lists, default=lambda _: lists.clear())
    with pytest.raises(errors.Conflict):
        pack(dicts, default=lambda _: dicts.update({str(n): n for n in range(100)}))


def test_buffers_of_every_kind_are_decoded():
    data = pack({"k": [1, "é"]})
    for buffer in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert unpack(buffer) == {"k": [1, "é"]}
    with pytest.raises(TypeError):
        unpack("text")


def test_the_deepest_allowed_value_fits_on_the_stack_of_a_small_thread():
    deep: list[object] = []
    for _ in range(1023):
        deep = [deep]
    done = []
    limits = Limits(max_depth=1024)
    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=lambda: done.append(unpack(pack(deep, limits=limits), limits=limits)))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert len(done) == 1
    with pytest.raises(errors.LimitExceeded, match="max_depth would be 129"):
        pack(deep)
    with pytest.raises(errors.LimitExceeded):
        unpack(b"\x91" * 100_000)


def test_references_are_neither_lost_nor_kept():
    value = {"k" * 40: [Handle(1), "text" * 50, {"in": (b"raw", 2.5)}]}
    handle = value["k" * 40][0]
    counts = [sys.getrefcount(handle), sys.getrefcount(value), sys.getrefcount(value["k" * 40])]
    for _ in range(50):
        data = pack(value, default=lambda _: Ext(20, b"x"))
        unpack(data, ext=lambda code, _: code)
        with pytest.raises(errors.UnsupportedType):
            pack(value)
        with pytest.raises(errors.MalformedData):
            unpack(data)
    assert counts == [sys.getrefcount(handle), sys.getrefcount(value), sys.getrefcount(value["k" * 40])]
