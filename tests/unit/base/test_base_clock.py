"""Times as text."""

from __future__ import annotations

import pytest

from llmspell.base.clock import rfc3339


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (0.25, "1970-01-01T00:00:00.250Z"),
        (1735787045.625, "2025-01-02T03:04:05.625Z"),
        (1735787045.9375, "2025-01-02T03:04:05.937Z"),
        (1735787046, "2025-01-02T03:04:06.000Z"),
        (1735787045.5, "2025-01-02T03:04:05.500Z"),
        (-0.5, "1969-12-31T23:59:59.500Z"),
    ],
)
def test_a_time_is_written_to_the_millisecond_whatever_was_written_before(epoch, text):
    rfc3339(1735787045)
    assert rfc3339(epoch) == text == rfc3339(epoch)
