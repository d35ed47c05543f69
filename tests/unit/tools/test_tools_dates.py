"""datetime-handler: reading, writing, moving, and dates at the edges."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import LLMSpellError, ValidationError
from llmspell.tools import _dates
from llmspell.tools import datetime_handler as handler
from llmspell.tools._base import ToolFailure


def utc(text, **options):
    return handler.parse(text, **options).value["parsed"]["utc"]


@pytest.mark.parametrize(
    ("text", "expected", "used"),
    [
        ("2024-01-15T10:30:00Z", "2024-01-15T10:30:00Z", "rfc3339"),
        ("2024-01-15T10:30:00+02:00", "2024-01-15T08:30:00Z", "rfc3339"),
        ("2024-01-15", "2024-01-15T00:00:00Z", "rfc3339"),
        ("2024-01-02 03:04:05.678", "2024-01-02T03:04:05.678000Z", "rfc3339"),
        ("20240115", "2024-01-15T00:00:00Z", "rfc3339"),
        ("1700000000", "2023-11-14T22:13:20Z", "unix"),
        (1700000000, "2023-11-14T22:13:20Z", "unix"),
        ("1700000000000", "2023-11-14T22:13:20Z", "unix_ms"),
        (0.5, "1970-01-01T00:00:00.500000Z", "unix"),
        ("-86400", "1969-12-31T00:00:00Z", "unix"),
        ("Mon, 15 Jan 2024 10:30:00 +0000", "2024-01-15T10:30:00Z", "rfc2822"),
        ("15.01.2024", "2024-01-15T00:00:00Z", "%d.%m.%Y"),
        ("03/04/2024", "2024-04-03T00:00:00Z", "%d/%m/%Y"),
        ("January 15, 2024", "2024-01-15T00:00:00Z", "%B %d, %Y"),
        ("15 Jan 2024 5pm", "2024-01-15T17:00:00Z", "dateutil"),
    ],
)
def test_a_date_is_read_in_the_documented_order(text, expected, used):
    value = handler.parse(text).value
    assert value["parsed"]["utc"] == expected
    assert value["format_used"] == used


def test_the_order_of_day_and_month_and_the_zone_can_be_given():
    assert utc("03/04/2024", day_first=False) == "2024-03-04T00:00:00Z"
    assert utc("2024-07-01 12:00", from_timezone="Europe/Rome") == "2024-07-01T10:00:00Z"
    assert utc("15|2024|01", input_format="%d|%Y|%m") == "2024-01-15T00:00:00Z"
    assert handler.parse("2024-01-15T23:00:00-05:00", format="date").value["formatted"] == "2024-01-16"


@pytest.mark.parametrize(
    "text",
    ["", "   ", "no date", "2024-13-45", "x" * 10_000, "\x00", "25:61", "٢٠٢٤", "1" * 40, "{{7*7}}", "99/99/9999"],
)
def test_an_unreadable_date_is_a_schema_violation(text):
    with pytest.raises(ValidationError) as caught:
        handler.parse(text)
    assert caught.value.code == "schema_violation"
    assert caught.value.details["field"] == "input"


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "../../etc/passwd", "/etc/localtime", "", "+25:00", "+1:00", "Europe", "a" * 65]
)
def test_an_unknown_zone_is_a_schema_violation(zone):
    with pytest.raises(ValidationError) as caught:
        handler.convert_timezone("2024-01-01", zone)
    assert caught.value.details["field"] == "target_timezone"


@pytest.mark.parametrize("number", [-(2**63), 2**63 - 1, 1e300, float("inf"), float("nan"), 10**20])
def test_a_number_that_is_no_date_is_out_of_range(number):
    with pytest.raises(ToolFailure) as caught:
        handler.parse(number)
    assert caught.value.code == "out_of_range"


@pytest.mark.parametrize("form", ["%", "%Q%5000000000d", "%1000000000Y", "a\x00b", "%" * 3, "x" * 201])
def test_a_hostile_format_is_refused(form):
    with pytest.raises(ValidationError):
        handler.format_date("2024-01-01", form)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%Y/%m/%d", "2024/01/15"),
        ("unix", "1705314600"),
        ("UNIX_MS", "1705314600000"),
        ("rfc2822", "Mon, 15 Jan 2024 10:30:00 +0000"),
        ("iso8601", "2024-01-15T10:30:00Z"),
        ("time", "10:30:00"),
        ("100%%", "100%"),
    ],
)
def test_formats_have_names_or_codes(form, text):
    assert handler.format_date("2024-01-15T10:30:00Z", form)["formatted"] == text


@pytest.mark.parametrize(
    ("start", "amount", "unit", "result"),
    [
        ("2024-01-31", 1, "months", "2024-02-29T00:00:00Z"),
        ("2024-02-29", 1, "year", "2025-02-28T00:00:00Z"),
        ("2024-01-15", 1, "quarters", "2024-04-15T00:00:00Z"),
        ("2024-01-01", 1.5, "days", "2024-01-02T12:00:00Z"),
        ("2024-01-01", 90, "min", "2024-01-01T01:30:00Z"),
        ("2024-01-01", 1, "ms", "2024-01-01T00:00:00.001000Z"),
        ("2024-01-05", 1, "business_days", "2024-01-08T00:00:00Z"),
        ("2024-01-06", 1, "business_days", "2024-01-08T00:00:00Z"),
        ("2024-01-06", 5, "business_days", "2024-01-12T00:00:00Z"),
        ("2024-01-08", -1, "business_days", "2024-01-05T00:00:00Z"),
        ("2024-01-07", -1, "business_days", "2024-01-05T00:00:00Z"),
        ("2024-01-01", 10, "business_days", "2024-01-15T00:00:00Z"),
        ("2024-03-31", -1, "months", "2024-02-29T00:00:00Z"),
    ],
)
def test_a_date_is_moved_by_units(start, amount, unit, result):
    assert handler.add(start, amount, unit)["result"] == result
    if unit not in ("months", "year", "quarters"):
        assert handler.subtract(start, -amount, unit)["result"] == result


def test_days_keep_the_wall_clock_and_hours_the_elapsed_time():
    rome = _dates.zone("Europe/Rome", "z")
    before, _ = _dates.read("2024-03-30T12:00:00", naive_zone=rome)
    assert _dates.move(before, 1, "days").hour == 12
    assert _dates.move(before, 24, "hours").hour == 13
    skipped, _ = _dates.read("2024-03-30T02:30:00", naive_zone=rome)
    assert _dates.iso(_dates.move(skipped, 1, "days")) == "2024-03-31T03:30:00+02:00"


@pytest.mark.parametrize(
    ("amount", "unit"),
    [(1e18, "days"), (10_000, "years"), (-(2**63), "months"), (1e308, "seconds"), (10**10, "business_days")],
)
def test_a_move_beyond_the_calendar_is_out_of_range(amount, unit):
    with pytest.raises(ToolFailure) as caught:
        handler.add("2024-01-01", amount, unit)
    assert caught.value.code == "out_of_range"


@pytest.mark.parametrize(("amount", "unit"), [(1, "fortnights"), (1.5, "months"), (1, ""), (0.5, "business_days")])
def test_a_bad_unit_or_fraction_is_refused(amount, unit):
    with pytest.raises(ValidationError):
        handler.add("2024-01-01", amount, unit)


@pytest.mark.parametrize(
    ("start", "end", "words", "unit", "value"),
    [
        ("2024-01-01", "2024-01-03T03:00:00", "2 days 3 hours", "hours", 51),
        ("2024-01-03", "2024-01-01", "2 days ago", "days", -2),
        ("2024-01-01", "2024-01-01", "0 seconds", "seconds", 0),
        ("2024-01-31", "2024-03-01", "30 days", "months", 1),
        ("2023-06-15", "2024-06-14", "365 days", "years", 0),
        ("2024-01-01", "2024-01-08", "7 days", "business_days", 5),
        ("2024-01-08", "2024-01-01", "7 days ago", "business_days", -5),
    ],
)
def test_a_difference_is_told_in_words_and_units(start, end, words, unit, value):
    span = handler.difference(start, end, unit).value["difference"]
    assert span["human_readable"] == words
    assert span["value"] == value


def test_info_knows_the_calendar():
    facts = handler.info("2024-02-29T13:00:00Z").value["info"]
    assert facts["weekday"] == "Thursday"
    assert facts["day_of_year"] == 60
    assert facts["week_of_year"] == 9
    assert facts["quarter"] == 1
    assert facts["is_leap_year"] is True
    assert facts["days_in_month"] == 29
    assert facts["start_of_day"] == "2024-02-29T00:00:00Z"
    assert facts["end_of_day"] == "2024-02-29T23:59:59.999999Z"


def test_now_is_told_in_any_zone():
    told = handler.now("Asia/Tokyo", "%z")
    assert told["datetime"] == "+0900"
    assert handler.now()["timestamp"] > 1_700_000_000
    assert handler.now("utc")["datetime"].endswith("Z")


def test_the_edges_of_the_calendar_do_not_break():
    with pytest.raises(ToolFailure):
        handler.convert_timezone("0001-01-01T00:00:00Z", "America/New_York")
    with pytest.raises(ToolFailure):
        handler.parse("9999-12-31T23:59:59-23:00")
    assert handler.info("9999-12-31").value["info"]["days_in_month"] == 31


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789-:TZ+./ abJanFebMon,%", max_size=30))
def test_any_text_is_a_date_or_a_refusal(text):
    try:
        outcome = handler.parse(text).value["parsed"]["utc"]
    except LLMSpellError as error:
        outcome = error.code
    assert outcome in ("schema_violation", "out_of_range") or outcome.endswith("Z")
