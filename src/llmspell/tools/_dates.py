"""Reading, writing and moving points in time, for `datetime-handler`.

Every date inside is aware. Names of zones: IANA, `utc`, `local`, or an offset such as `+02:00`.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Any

from llmspell.tools._base import ToolFailure, violation

MAX_TEXT = 200
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+\-/]{0,63}")
_FORMAT = re.compile(r"(?:[^%\0]|%[-_^#0]?[A-Za-z]|%:z|%%)*")
_UNIX = re.compile(r"[+-]?\d{1,14}(?:\.\d{1,9})?", re.ASCII)
_ISO = re.compile(r"\d{4}(?:-\d\d-\d\d|\d{4}|-?W\d\d(?:-?\d)?)(?:[Tt ].+)?", re.ASCII)
_RFC2822 = re.compile(r"(?:[A-Za-z]{3},\s*)?\d{1,2}\s+[A-Za-z]{3}\s+\d{2,4}\s+\d{1,2}:\d{2}")
_LONG_NUMBER = re.compile(r"\d{15}")
_MS_FROM = 100_000_000_000

NAMED_FORMATS = ("iso8601", "rfc3339", "rfc2822", "unix", "unix_ms", "date", "time")
_DAY_FIRST = ("%d/%m/%Y", "%d-%m-%Y", "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S")
PATTERNS = (
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%B %d, %Y",
    "%b %d, %Y",
    "%d %B %Y",
    "%d %b %Y",
    "%B %d, %Y %H:%M:%S",
    "%d %b %Y %H:%M:%S",
)

_SECONDS = {"milliseconds": 0.001, "seconds": 1.0, "minutes": 60.0, "hours": 3600.0}
_DAYS = {"days": 1, "weeks": 7}
_MONTHS = {"months": 1, "quarters": 3, "years": 12}
_SHORT = {
    "ms": "milliseconds",
    "milli": "milliseconds",
    "s": "seconds",
    "sec": "seconds",
    "secs": "seconds",
    "m": "minutes",
    "min": "minutes",
    "mins": "minutes",
    "h": "hours",
    "hr": "hours",
    "hrs": "hours",
    "d": "days",
    "w": "weeks",
    "wk": "weeks",
    "mo": "months",
    "mon": "months",
    "q": "quarters",
    "y": "years",
    "yr": "years",
    "yrs": "years",
    "bd": "business_days",
    "business": "business_days",
}
UNITS = (*_SECONDS, *_DAYS, *_MONTHS, "business_days")


def zone(name: str, param: str) -> dt.tzinfo:
    """Return the time zone of a name. Raises a violation of `param`."""
    if name.lower() in ("utc", "z", "gmt"):
        return dt.UTC
    if name.lower() == "local":
        from dateutil.tz import tzlocal

        local: dt.tzinfo = tzlocal()
        return local
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3])
        if minutes < 24 * 60 and int(offset[3]) < 60:
            return dt.timezone(dt.timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    elif _ZONE.fullmatch(name):
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise _unknown_zone(name, param) from error
    raise _unknown_zone(name, param)


def _unknown_zone(name: str, param: str) -> Exception:
    return violation(param, f"unknown time zone '{name[:60]}': an IANA name, utc, local or +hh:mm expected")


def out_of_range(what: str = "the date") -> ToolFailure:
    """Return the failure of a date before year 1 or after year 9999."""
    return ToolFailure("out_of_range", f"{what} is out of range: years 1 to 9999 can be represented")


def read(
    given: str | int | float,
    *,
    param: str = "input",
    naive_zone: dt.tzinfo = dt.UTC,
    day_first: bool = True,
    pattern: str | None = None,
) -> tuple[dt.datetime, str]:
    """Return the aware date and the form it was read in. Raises a violation for what is no date."""
    if not isinstance(given, str):
        return _unix(given)
    text = given.strip()
    if not text or len(text) > MAX_TEXT:
        raise violation(param, f"a date of 1 to {MAX_TEXT} characters expected")
    if pattern is not None:
        check_format(pattern, "input_format")
    try:
        if pattern is not None:
            found, used = dt.datetime.strptime(text, pattern), pattern
        else:
            found, used = _guess(text, day_first=day_first)
        aware = found if found.tzinfo is not None else found.replace(tzinfo=naive_zone)
        aware.astimezone(dt.UTC)
    except OverflowError as error:
        raise out_of_range() from error
    except (ValueError, TypeError, ArithmeticError, re.error) as error:
        raise violation(param, f"cannot read '{text[:80]}' as a date") from error
    return aware, used


def _unix(number: int | float) -> tuple[dt.datetime, str]:
    millis = abs(number) >= _MS_FROM
    try:
        seconds = number / 1000 if millis else number
        return _epoch() + dt.timedelta(seconds=seconds), "unix_ms" if millis else "unix"
    except (OverflowError, ValueError) as error:
        raise out_of_range() from error


def _epoch() -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _guess(text: str, *, day_first: bool) -> tuple[dt.datetime, str]:
    """Read text by unix time, RFC 3339, RFC 2822, known patterns, and dateutil, in this order."""
    compact_date = len(text) == 8 and text.isdigit()
    if _UNIX.fullmatch(text) and not compact_date:
        return _unix(float(text) if "." in text else int(text))
    found = _first(text, ())
    if found is not None:
        return found
    if _RFC2822.match(text):
        from email.utils import parsedate_to_datetime

        return parsedate_to_datetime(text), "rfc2822"
    found = _first(text, (*PATTERNS, *(_DAY_FIRST if day_first else _MONTH_FIRST)))
    if found is not None:
        return found
    if not text.isascii() or _LONG_NUMBER.search(text):
        # dateutil would find some date even there.
        raise ValueError(text)
    from dateutil import parser

    today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    loose: dt.datetime = parser.parse(text, dayfirst=day_first, default=today, tzinfos=_stated_zone)
    return loose, "dateutil"


def _stated_zone(name: str | None, offset: int | None) -> dt.tzinfo | None:
    """Return the zone that dateutil read; a name it does not know is no date, where it would only warn."""
    if offset is not None:
        return dt.timezone(dt.timedelta(seconds=offset))
    if name is None:
        return None
    if name.upper() in ("UTC", "GMT", "Z"):
        return dt.UTC
    raise ValueError(f"unknown zone {name}")


def _first(text: str, patterns: tuple[str, ...]) -> tuple[dt.datetime, str] | None:
    """Read by the first pattern that fits; without patterns, as RFC 3339."""
    if not patterns:
        try:
            return (dt.datetime.fromisoformat(text), "rfc3339") if _ISO.fullmatch(text) else None
        except ValueError:
            return None
    for pattern in patterns:
        try:
            return dt.datetime.strptime(text, pattern), pattern  # noqa: DTZ007,RUF100 - the caller adds the zone
        except ValueError:
            continue
    return None


def check_format(pattern: str, param: str = "format") -> None:
    """Raise a violation for a format that is too long or holds what strftime does not know."""
    if len(pattern) > MAX_TEXT or not _FORMAT.fullmatch(pattern) or not pattern:
        raise violation(param, f"a strftime format of at most {MAX_TEXT} characters, or a name, expected")


def write(when: dt.datetime, form: str) -> str:
    """Return a date in a named format or by strftime."""
    named = form.lower()
    if named in ("iso8601", "rfc3339"):
        return iso(when)
    if named == "rfc2822":
        from email.utils import format_datetime

        return format_datetime(when)
    if named in ("unix", "unix_ms"):
        return str(int(stamp(when) // 1) if named == "unix" else round(stamp(when) * 1000))
    if named in ("date", "time"):
        return when.strftime("%Y-%m-%d" if named == "date" else "%H:%M:%S")
    check_format(form)
    try:
        return when.strftime(form)
    except (ValueError, UnicodeError) as error:
        raise violation("format", f"strftime refuses the format: {error}") from error


def iso(when: dt.datetime) -> str:
    """Return RFC 3339 text, `Z` for UTC, with microseconds only when there are some."""
    return when.isoformat().replace("+00:00", "Z")


def stamp(when: dt.datetime) -> int | float:
    """Return unix seconds: an integer when there is no fraction."""
    seconds = (when - _epoch()).total_seconds()
    return int(seconds) if seconds == int(seconds) else seconds


def unit_of(word: str) -> str:
    """Return the canonical unit of a word or short form. Raises a violation."""
    key = word.strip().lower().replace("-", "_").replace(" ", "_")
    for candidate in (key, _SHORT.get(key, ""), f"{key}s"):
        if candidate in UNITS:
            return candidate
    raise violation("unit", f"unknown unit '{word[:40]}': one of {', '.join(UNITS)} expected", keyword="enum")


def move(when: dt.datetime, amount: int | float, unit: str) -> dt.datetime:
    """Return the date `amount` units later. Hours and less are elapsed time, days and more keep the wall clock."""
    whole = 0 if unit in _SECONDS or unit in _DAYS else _whole(amount, unit)
    try:
        if unit in _SECONDS:
            span = dt.timedelta(seconds=amount * _SECONDS[unit])
            return (when.astimezone(dt.UTC) + span).astimezone(when.tzinfo)
        if unit in _DAYS:
            moved = when.replace(tzinfo=None) + dt.timedelta(days=amount * _DAYS[unit])
        else:
            naive = when.replace(tzinfo=None)
            moved = _business(naive, whole) if unit == "business_days" else _months(naive, whole * _MONTHS[unit])
        # By way of UTC, so that a wall time which the clocks skip becomes the one they show.
        return moved.replace(tzinfo=when.tzinfo).astimezone(dt.UTC).astimezone(when.tzinfo)
    except (OverflowError, ValueError) as error:
        raise out_of_range("the result") from error


def _whole(amount: int | float, unit: str) -> int:
    if amount != amount or abs(amount) > 1e9:
        raise out_of_range("the result")
    if amount != int(amount):
        raise violation("amount", f"a whole number of {unit} expected", keyword="type")
    return int(amount)


def _months(when: dt.datetime, months: int) -> dt.datetime:
    index = when.year * 12 + when.month - 1 + months
    year, month = divmod(index, 12)
    if not 1 <= year <= 9999:
        raise OverflowError(year)
    return when.replace(year=year, month=month + 1, day=min(when.day, days_in_month(year, month + 1)))


def days_in_month(year: int, month: int) -> int:
    """Return 28 to 31."""
    from calendar import monthrange

    return monthrange(year, month)[1]


def _business(when: dt.datetime, count: int) -> dt.datetime:
    """Step over Saturdays and Sundays; a start on one of them counts from the working day before or after."""
    step = 1 if count >= 0 else -1
    weeks, rest = divmod(abs(count), 5)
    if when.weekday() >= 5 and count:
        # From a weekend, whole weeks and days are counted from the last working day behind.
        back = when.weekday() - 4 if step > 0 else 7 - when.weekday()
        when -= dt.timedelta(days=step * back)
    moved = when + dt.timedelta(weeks=step * weeks)
    while rest:
        moved += dt.timedelta(days=step)
        rest -= moved.weekday() < 5
    return moved


def between(start: dt.datetime, end: dt.datetime, unit: str) -> int | float:
    """Return the span in a unit: exact for clock units and days, whole ones for months and more."""
    seconds = (end - start).total_seconds()
    if unit in _SECONDS:
        return seconds / _SECONDS[unit]
    if unit in _DAYS:
        return seconds / (86_400 * _DAYS[unit])
    if unit == "business_days":
        return _business_between(start.date(), end.astimezone(start.tzinfo).date())
    first, last = (start, end) if end >= start else (end, start)
    last = last.astimezone(first.tzinfo)
    months = (last.year - first.year) * 12 + last.month - first.month
    if months and _months(first.replace(tzinfo=None), months) > last.replace(tzinfo=None):
        months -= 1
    whole = months // _MONTHS[unit]
    return whole if end >= start else -whole


def _business_between(start: dt.date, end: dt.date) -> int:
    """Count the working days after `start` up to `end`."""
    if end < start:
        return -_business_between(end, start)
    weeks, rest = divmod((end - start).days, 7)
    return weeks * 5 + sum((start.weekday() + day) % 7 < 5 for day in range(1, rest + 1))


def human(seconds: float) -> str:
    """Return `2 days 3 hours`, followed by `ago` for the past."""
    left = int(abs(seconds))
    parts = []
    for size, word in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {word}{'s' if number != 1 else ''}")
    text = " ".join(parts) or "0 seconds"
    return f"{text} ago" if seconds < 0 and parts else text


def fields(when: dt.datetime, zone_name: str | None = None) -> dict[str, Any]:
    """Return the parts of a date; the weekday counts from 1, Monday."""
    return {
        "utc": iso(when.astimezone(dt.UTC)),
        "iso": iso(when),
        "timestamp": stamp(when),
        "year": when.year,
        "month": when.month,
        "day": when.day,
        "hour": when.hour,
        "minute": when.minute,
        "second": when.second,
        "microsecond": when.microsecond,
        "weekday": when.isoweekday(),
        "timezone": zone_name or zone_text(when),
    }


def zone_text(when: dt.datetime) -> str:
    """Return the name of a date's zone: its IANA key, else UTC or the offset."""
    key = getattr(when.tzinfo, "key", None)
    return str(key) if key else str(when.tzname() or when.strftime("%z"))
