"""Points in time from text and to text, always in UTC."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llmspell.errors import InvalidArgument

if TYPE_CHECKING:
    from datetime import datetime

# Directives that mean the same on every platform; a width or a flag could ask for gigabytes of padding.
_FORMAT = re.compile(r"(?:[^%]|%[aAbBcdDeFgGHIjmMnpRsStTuUVwWxXyYZz%f])*+")


def parse_time(text: str) -> float:
    """Return seconds since 1970 of an ISO 8601, RFC 3339 or RFC 2822 time; without zone it is UTC."""
    from datetime import UTC

    moment = _parse(text.strip()) if len(text) <= 100 else None
    if moment is None:
        raise InvalidArgument(
            f"bad time {text[:100]!r}: expected such as 2025-01-02T03:04:05Z", details={"value": text[:100]}
        )
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def format_time(epoch: float, fmt: str | None = None) -> str:
    """Return the time as RFC 3339 with milliseconds, or by a strftime format without flags and widths."""
    from datetime import UTC, datetime

    from llmspell.base.clock import rfc3339

    try:
        moment = datetime.fromtimestamp(epoch, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidArgument(f"no date has the epoch {epoch}: the years 1 to 9999 can be written") from error
    if fmt is None:
        return rfc3339(epoch)
    if len(fmt) > 1000 or not _FORMAT.fullmatch(fmt):
        raise InvalidArgument(f"bad time format {fmt[:100]!r}: a directive is % and one letter, such as %Y-%m-%d")
    return moment.strftime(fmt)


def _parse(text: str) -> datetime | None:
    from datetime import datetime
    from email.utils import parsedate_to_datetime

    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(text)
        except (ValueError, IndexError, TypeError, OverflowError):
            continue
    return None
