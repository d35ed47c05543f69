"""A key that is accepted does something: the code outside config/ reads it."""

import re
from pathlib import Path

import msgspec

from llmspell.config import model

SOURCE = Path(model.__file__).parents[1]
# section.field -> who reads it without naming it as an attribute
ELSEWHERE = {
    "Limits.*": "the engine takes the whole section, by resource",
    "Config.profile": "chooses layers while loading",
    "Config.origins": "no key: where the values come from",
    "Config.storage": "decides the paths of the stores while loading",
    "Storage.*": "decides the paths of the stores while loading",
    "Config.default_engine": "has one value",
    "Config.security_trusted_projects": "decides while loading whom to trust",
    "Tools.options": "read through `Tools.option`",
}


def sections():
    for item in vars(model).values():
        if isinstance(item, type) and issubclass(item, msgspec.Struct) and item is not msgspec.Struct:
            yield item


def test_every_key_has_a_reader():
    text = "\n".join(
        path.read_text() for path in sorted(SOURCE.rglob("*.py")) if "config" not in path.relative_to(SOURCE).parts[:1]
    )
    unread = [
        f"{section.__name__}.{field}"
        for section in sections()
        for field in section.__struct_fields__
        if not {f"{section.__name__}.{field}", f"{section.__name__}.*"} & set(ELSEWHERE)
        and not re.search(rf"\.{field}\b", text)
    ]
    assert unread == []


def test_every_exception_names_a_key():
    known = {f"{section.__name__}.{field}" for section in sections() for field in (*section.__struct_fields__, "*")}
    assert set(ELSEWHERE) <= known
