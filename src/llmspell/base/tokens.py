"""The estimate of model tokens used where no provider counted: bytes per token by kind of script."""

from __future__ import annotations

import re

# One token holds about four Latin letters, two of other alphabets, and one ideograph, kana or Hangul syllable.
_SINGLE = re.compile("[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]")


def estimate(text: str) -> int:
    """Return about how many tokens `text` is; 0 only for empty text."""
    if text.isascii():
        return -(-len(text) // 4)
    single = len(_SINGLE.findall(text))
    plain = sum(char < "\u0250" for char in text)
    other = len(text) - single - plain
    return single + -(-plain // 4) + -(-other // 2)
