"""Forms of text that can be judged without asking anybody: addresses, dates, check digits. All take linear time."""

from __future__ import annotations

import re
from collections.abc import Callable

_EMAIL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++)*+@([A-Za-z0-9.-]{1,253})")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PHONE = re.compile(r"\+?[0-9 ().-]{6,30}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_SLUG = re.compile(r"[a-z0-9]++(?:-[a-z0-9]++)*+")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
MAX_TEXT = 10_000


def is_email(text: str) -> bool:
    """Return whether the text is an address of the usual form, with a dotted host."""
    hit = _EMAIL.fullmatch(text) if len(text) <= 320 else None
    if hit is None or len(text) - len(hit[1]) > 65:
        return False
    labels = hit[1].split(".")
    return len(labels) > 1 and all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def is_url(text: str) -> bool:
    """Return whether the text is an absolute http, https or ftp URL with a host."""
    from urllib.parse import urlsplit

    if len(text) > MAX_TEXT or any(char <= " " or char in '"<>\\^`{|}' for char in text):
        return False
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https", "ftp") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        return False


def is_ip(text: str) -> bool:
    """Return whether the text is an IPv4 or IPv6 address."""
    from ipaddress import ip_address

    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_date(text: str, form: str | None = None) -> bool:
    """Return whether the text is an ISO 8601 date or time, or fits the strptime form."""
    from datetime import datetime

    if len(text) > 100:
        return False
    try:
        if form is None:
            datetime.fromisoformat(text)
        else:
            datetime.strptime(text, form)
    except (ValueError, re.error):
        return False
    return True


def is_phone(text: str) -> bool:
    """Return whether the text has 7 to 15 digits and nothing but the usual marks."""
    return _PHONE.fullmatch(text) is not None and 7 <= sum(char.isdigit() for char in text) <= 15


def is_uuid(text: str) -> bool:
    """Return whether the text is a UUID with hyphens."""
    return _UUID.fullmatch(text) is not None


def is_credit_card(text: str) -> bool:
    """Return whether the digits have the length and the check digit of a card number. Source: ISO/IEC 7812-1."""
    digits = text.replace(" ", "").replace("-", "")
    if not (digits.isascii() and digits.isdigit() and 12 <= len(digits) <= 19):
        return False
    doubled = [int(char) * (2 if index % 2 else 1) for index, char in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def is_slug(text: str) -> bool:
    """Return whether the text is lower-case words between single hyphens."""
    return _SLUG.fullmatch(text) is not None


def is_json(text: str) -> bool:
    """Return whether the text is one JSON value."""
    from llmspell.base.jsontext import loads
    from llmspell.errors import ValidationError

    try:
        loads(text)
    except ValidationError:
        return False
    return True


def is_base64(text: str) -> bool:
    """Return whether the text is base64 of the standard alphabet with its padding."""
    import binascii

    try:
        binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        return False
    return True


def is_iban(text: str) -> bool:
    """Return whether the text is an account number with right check digits. Source: ISO 13616."""
    plain = text.replace(" ", "").upper() if len(text) <= 60 else ""
    if not _IBAN.fullmatch(plain):
        return False
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


CUSTOM: dict[str, Callable[[str], bool]] = {
    "phone": is_phone,
    "uuid": is_uuid,
    "credit_card": is_credit_card,
    "slug": is_slug,
    "json": is_json,
    "base64": is_base64,
    "iban": is_iban,
}
