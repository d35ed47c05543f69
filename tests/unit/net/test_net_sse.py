from __future__ import annotations

import pytest

from llmspell.errors import LimitExceeded
from llmspell.net import SseParser

STREAM = (
    ": keep-alive\r\n\r\n"
    "event: greeting\r\nid: 7\r\ndata: héllo\r\ndata: wörld 🌍\r\n\r\n"
    "data:no space\n\n"
    "data: cr only\r\rretry: 1500\n\n"
    "event: empty\n\n"
    "data\n\n"
).encode()
EVENTS = [
    ("greeting", "héllo\nwörld 🌍", "7"),
    ("message", "no space", "7"),
    ("message", "cr only", "7"),
    ("message", "", "7"),
]


def test_a_whole_stream_gives_its_events_in_order():
    parser = SseParser()
    assert [tuple(event) for event in parser.feed(STREAM)] == EVENTS
    assert parser.retry_ms == 1500
    assert not parser.pending


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_cuts_at_any_byte_change_nothing(size):
    parser = SseParser()
    events = []
    for start in range(0, len(STREAM), size):
        events += parser.feed(STREAM[start : start + size])
    assert [tuple(event) for event in events] == EVENTS


def test_a_byte_order_mark_is_dropped_even_in_pieces():
    parser = SseParser()
    events = []
    for byte in b"\xef\xbb\xbfdata: x\n\n":
        events += parser.feed(bytes([byte]))
    assert [event.data for event in events] == ["x"]


def test_an_unfinished_event_is_pending():
    parser = SseParser()
    assert parser.feed(b"data: half\n") == []
    assert parser.pending


@pytest.mark.parametrize("piece", [b"x" * 60, b"data: " + b"x" * 50 + b"\n"])
def test_an_event_without_end_is_refused_at_the_cap(piece):
    parser = SseParser(max_event_bytes=1000)
    fed = 0

    def feed_for_ever():
        nonlocal fed
        for _ in range(100):
            parser.feed(piece)
            fed += 1

    with pytest.raises(LimitExceeded):
        feed_for_ever()
    assert fed <= 20
