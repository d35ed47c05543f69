"""Read, write, convert, compare and move dates and times."""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Annotated, Any

from llmspell.tools import _dates
from llmspell.tools._base import Case, P, Result, ToolHeader, operation

Date = Annotated[str | int | float, P("A date as text, or unix seconds or milliseconds")]
Format = Annotated[str, P("strftime format, or iso8601, rfc3339, rfc2822, unix, unix_ms, date, time", max_length=200)]
OptionalFormat = Annotated[str | None, P("strftime format or a named one", max_length=200)]
Zone = Annotated[str, P("IANA name, utc, local or +hh:mm", max_length=64)]
OptionalZone = Annotated[str | None, P("IANA name, utc, local or +hh:mm", max_length=64)]
Amount = Annotated[int | float, P("How many units")]
Unit = Annotated[str, P("milliseconds, seconds, minutes, hours, days, weeks, months, quarters, years, business_days")]

TOOL = ToolHeader(
    category="utility",
    level="safe",
    default="parse",
    aliases=("date_time_handler", "datetime", "date_time"),
    timeout_ms=5_000,
    inline=True,
    tags=("date", "time", "timezone"),
    idempotent=False,
    tests=(
        Case(
            "parse",
            {"input": "2024-01-15T10:30:00+02:00"},
            {"result": {"parsed": {"utc": "2024-01-15T08:30:00Z", "year": 2024, "hour": 10}}},
        ),
        Case("now", {"operation": "now", "timezone": "utc", "format": "date"}, {"result": {"format": "date"}}),
        Case(
            "format",
            {"operation": "format", "input": "2024-01-15", "format": "%d.%m.%Y"},
            {"result": {"formatted": "15.01.2024"}, "text": "15.01.2024"},
        ),
        Case(
            "convert",
            {"operation": "convert", "input": "2024-07-01T12:00:00Z", "target_timezone": "America/New_York"},
            {"result": {"converted": "2024-07-01 08:00:00 EDT"}},
        ),
        Case(
            "add clamps",
            {"operation": "add", "input": "2024-01-31", "amount": 1, "unit": "months"},
            {"result": {"result": "2024-02-29T00:00:00Z"}},
        ),
        Case(
            "subtract",
            {"operation": "subtract", "input": "2024-03-01", "amount": 1, "unit": "d"},
            {"text": "2024-02-29T00:00:00Z"},
        ),
        Case(
            "difference",
            {"operation": "difference", "start": "2024-01-01", "end": "2024-01-03T03:00:00"},
            {"result": {"difference": {"human_readable": "2 days 3 hours", "total_seconds": 183600}}},
        ),
        Case(
            "info",
            {"operation": "info", "input": "2024-12-31"},
            {"result": {"info": {"weekday": "Tuesday", "day_of_year": 366, "quarter": 4, "is_leap_year": True}}},
        ),
        Case("formats", {"operation": "formats"}, {"result": {"example_formats": {"date": "2024-01-15"}}}),
    ),
)


@operation("parse")
def parse(
    input: Date,  # noqa: A002 - the parameter's published name
    from_timezone: Zone = "utc",
    day_first: Annotated[bool, P("Read 03/04 as 3 April")] = True,
    input_format: Annotated[str | None, P("strptime format of the input", max_length=200)] = None,
    format: OptionalFormat = None,  # noqa: A002 - the parameter's published name
) -> Result:
    """Read a date."""
    naive = _dates.zone(from_timezone, "from_timezone")
    when, used = _dates.read(input, naive_zone=naive, day_first=day_first, pattern=input_format)
    parsed = _dates.fields(when)
    result: dict[str, Any] = {"input": input, "parsed": parsed, "format_used": used}
    text = str(parsed["utc"])
    if format is not None:
        text = result["formatted"] = _dates.write(when.astimezone(dt.UTC), format)
    return Result(result, text=text)


@operation("now", text="datetime")
def now(timezone: Zone = "local", format: OptionalFormat = None) -> dict[str, Any]:  # noqa: A002 - published name
    """Tell the present time."""
    when = dt.datetime.now(_dates.zone(timezone, "timezone"))
    form = format or "rfc3339"
    return {
        "timezone": _dates.zone_text(when) if timezone == "local" else timezone,
        "datetime": _dates.write(when, form),
        "timestamp": _dates.stamp(when),
        "format": form,
    }


@operation("format", text="formatted")
def format_date(
    input: Date,  # noqa: A002 - the parameter's published name
    format: Format,  # noqa: A002 - the parameter's published name
    target_timezone: OptionalZone = None,
) -> dict[str, Any]:
    """Write a date in a format."""
    when, _ = _dates.read(input)
    if target_timezone is not None:
        when = _shifted(when, target_timezone)
    return {"input": input, "formatted": _dates.write(when, format), "format": format}


@operation("convert_timezone", aliases=("convert",), text="converted")
def convert_timezone(
    input: Date,  # noqa: A002 - the parameter's published name
    target_timezone: Zone,
    from_timezone: OptionalZone = None,
    format: Format = "%Y-%m-%d %H:%M:%S %Z",  # noqa: A002 - the parameter's published name
) -> dict[str, Any]:
    """Show a date in another time zone."""
    when, _ = _dates.read(input, naive_zone=_dates.zone(from_timezone or "utc", "from_timezone"))
    return {
        "input": input,
        "target_timezone": target_timezone,
        "original": _dates.write(when, format),
        "converted": _dates.write(_shifted(when, target_timezone), format),
    }


@operation("add", text="result")
def add(input: Date, amount: Amount, unit: Unit) -> dict[str, Any]:  # noqa: A002 - the parameter's published name
    """Move a date into the future."""
    return _moved(input, amount, unit, sign=1)


@operation("subtract", text="result")
def subtract(input: Date, amount: Amount, unit: Unit) -> dict[str, Any]:  # noqa: A002 - the published name
    """Move a date into the past."""
    return _moved(input, amount, unit, sign=-1)


@operation("difference", aliases=("diff",))
def difference(
    start: Date, end: Date, unit: Annotated[str | None, P("Also tell the span in this unit")] = None
) -> Result:
    """Tell how far two dates are apart."""
    first, _ = _dates.read(start, param="start")
    last, _ = _dates.read(end, param="end")
    seconds = (last - first).total_seconds()
    whole = int(abs(seconds))
    sign = -1 if seconds < 0 else 1
    span: dict[str, Any] = {
        "total_seconds": int(seconds) if seconds == int(seconds) else seconds,
        "days": sign * (whole // 86_400),
        "hours": sign * (whole // 3600 % 24),
        "minutes": sign * (whole // 60 % 60),
        "seconds": sign * (whole % 60),
        "human_readable": _dates.human(seconds),
    }
    if unit is not None:
        span["value"] = _dates.between(first, last, _dates.unit_of(unit))
    return Result({"start": start, "end": end, "difference": span}, text=span["human_readable"])


@operation("info")
def info(input: Date) -> Result:  # noqa: A002 - the parameter's published name
    """Tell all about a date."""
    when, _ = _dates.read(input)
    day = when.replace(hour=0, minute=0, second=0, microsecond=0)
    facts = {
        **_dates.fields(when),
        "weekday": calendar.day_name[when.weekday()],
        "day_of_year": when.timetuple().tm_yday,
        "week_of_year": when.isocalendar().week,
        "quarter": (when.month + 2) // 3,
        "is_leap_year": calendar.isleap(when.year),
        "days_in_month": _dates.days_in_month(when.year, when.month),
        "start_of_day": _dates.iso(day),
        "end_of_day": _dates.iso(day.replace(hour=23, minute=59, second=59, microsecond=999_999)),
    }
    return Result({"input": input, "info": facts}, text=str(facts["iso"]))


@operation("formats")
def formats() -> dict[str, Any]:
    """List the formats that are understood."""
    sample = dt.datetime(2024, 1, 15, 10, 30, tzinfo=dt.UTC)
    shown = {"iso8601": "ISO8601", "rfc3339": "RFC3339", "rfc2822": "RFC2822"}
    return {
        "available_formats": [*_dates.NAMED_FORMATS, *_dates.PATTERNS],
        "example_formats": {shown.get(name, name): _dates.write(sample, name) for name in _dates.NAMED_FORMATS},
    }


def _shifted(when: dt.datetime, zone: str) -> dt.datetime:
    target = _dates.zone(zone, "target_timezone")
    try:
        return when.astimezone(target)
    except (OverflowError, ValueError) as error:
        raise _dates.out_of_range() from error


def _moved(given: str | int | float, amount: int | float, unit: str, *, sign: int) -> dict[str, Any]:
    word = _dates.unit_of(unit)
    when, _ = _dates.read(given)
    return {
        "input": given,
        "amount": amount,
        "unit": word,
        "original": _dates.iso(when),
        "result": _dates.iso(_dates.move(when, sign * amount, word)),
    }
