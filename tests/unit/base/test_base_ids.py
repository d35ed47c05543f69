"""Identifiers are random UUIDs of version 4, and a forked child makes its own."""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmspell.base.ids import uuid4


def test_an_identifier_is_a_uuid_of_version_4_in_lower_case() -> None:
    for _ in range(200):
        text = uuid4()
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (4, uuid.RFC_4122, text)


def test_identifiers_made_by_many_threads_all_differ() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [text for texts in pool.map(lambda _: [uuid4() for _ in range(500)], range(16)) for text in texts]
    assert len(set(made)) == len(made) == 8000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_makes_other_identifiers_than_its_parent() -> None:
    uuid4()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "".join(uuid4() for _ in range(8)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = pipe.read()
    os.waitpid(child, 0)
    assert len(theirs) == 8 * 36
    assert not {theirs[at : at + 36] for at in range(0, len(theirs), 36)} & {uuid4() for _ in range(64)}
