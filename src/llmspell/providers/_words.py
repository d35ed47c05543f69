"""What the built-in models share: words as tokens, and text cut into one chunk per word."""

from __future__ import annotations

import re

from llmspell.base.types import Usage
from llmspell.providers._base import ModelRequest

_CHUNKS = re.compile(r"^\s+|\S+\s*")


def chunks(text: str) -> list[str]:
    """Cut `text` after the blanks that follow each word; joined again it is unchanged."""
    return _CHUNKS.findall(text)


def usage(request: ModelRequest, answer: str) -> Usage:
    """Return usage counted in whitespace-separated words of all messages and of the answer, at no cost."""
    sent = sum(len(message.content.split()) for message in request.messages)
    made = len(answer.split())
    return Usage(input_tokens=sent, output_tokens=made, total_tokens=sent + made, cost_usd=0.0)
