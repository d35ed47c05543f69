"""Differences of texts by lines: blocks, their usual forms, and the way back by a unified patch."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from llmspell.errors import ValidationError

NO_NEWLINE = "\\ No newline at end of file"
POPULAR = 64
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
Block = tuple[str, int, int, int, int]


class TextDiff:
    """The comparison of two texts. `check` is called now and then and may raise to stop.

    ignore_whitespace: lines are compared with runs of blanks as one and none at the ends.
    """

    def __init__(
        self, old: str, new: str, *, ignore_whitespace: bool = False, check: Callable[[], None] = lambda: None
    ) -> None:
        self.old, self.new = lines_of(old), lines_of(new)
        self._ends = (_cut_short(old), _cut_short(new))
        a, b = self.old, self.new
        if ignore_whitespace:
            a, b = [" ".join(line.split()) for line in a], [" ".join(line.split()) for line in b]
        else:
            # A missing newline at the end makes the last line another one.
            a, b = _marked(a, self._ends[0]), _marked(b, self._ends[1])
        self._matcher = _matcher(a, b, check)
        self.blocks: list[Block] = [block for block in self._matcher.get_opcodes() if block[0] != "equal"]

    @property
    def identical(self) -> bool:
        """Return whether nothing differs."""
        return not self.blocks

    def stats(self) -> dict[str, int]:
        """Return the counts of lines."""
        return {
            "old_lines": len(self.old),
            "new_lines": len(self.new),
            "added": sum(j2 - j1 for _, _, _, j1, j2 in self.blocks),
            "removed": sum(i2 - i1 for _, i1, i2, _, _ in self.blocks),
        }

    def unified(self, context: int, names: tuple[str, str]) -> str:
        """Return the unified form."""
        out: list[str] = [f"--- {names[0]}", f"+++ {names[1]}"] if self.blocks else []
        for group in self._groups(context):
            i1, i2, j1, j2 = group[0][1], group[-1][2], group[0][3], group[-1][4]
            out.append(f"@@ -{_span(i1, i2)} +{_span(j1, j2)} @@")
            for kind, a1, a2, b1, b2 in group:
                if kind == "equal":
                    out += self._side(0, a1, a2, " ")
                else:
                    out += self._side(0, a1, a2, "-") + self._side(1, b1, b2, "+")
        return _joined(out)

    def context(self, context: int, names: tuple[str, str]) -> str:
        """Return the context form."""
        out: list[str] = [f"*** {names[0]}", f"--- {names[1]}"] if self.blocks else []
        for group in self._groups(context):
            i1, i2, j1, j2 = group[0][1], group[-1][2], group[0][3], group[-1][4]
            kinds = {block[0] for block in group}
            out += ["*" * 15, f"*** {_range(i1, i2)} ****"]
            if kinds & {"replace", "delete"}:
                marks = {"equal": "  ", "replace": "! ", "delete": "- "}
                for kind, a1, a2, _, _ in group:
                    out += self._side(0, a1, a2, marks[kind]) if kind in marks else []
            out.append(f"--- {_range(j1, j2)} ----")
            if kinds & {"replace", "insert"}:
                marks = {"equal": "  ", "replace": "! ", "insert": "+ "}
                for kind, _, _, b1, b2 in group:
                    out += self._side(1, b1, b2, marks[kind]) if kind in marks else []
        return _joined(out)

    def inline(self) -> str:
        """Return all lines, changed ones with `-` or `+` before them."""
        out: list[str] = []
        for kind, i1, i2, j1, j2 in self._matcher.get_opcodes():
            if kind == "equal":
                out += [f" {line}" for line in self.old[i1:i2]]
            else:
                out += [f"-{line}" for line in self.old[i1:i2]] + [f"+{line}" for line in self.new[j1:j2]]
        return _joined(out)

    def simple(self) -> str:
        """Return one sentence per block and their number."""
        out = []
        for kind, i1, i2, j1, j2 in self.blocks:
            if kind == "insert":
                out.append(f"Added at lines {j1 + 1}-{j2}")
            else:
                out.append(f"{'Removed' if kind == 'delete' else 'Replaced'} at lines {i1 + 1}-{i2}")
        return _joined([*out, f"Total changes: {len(self.blocks)}"])

    def _groups(self, context: int) -> list[list[Block]]:
        return [list(group) for group in self._matcher.get_grouped_opcodes(context)] if self.blocks else []

    def _side(self, side: int, start: int, end: int, mark: str) -> list[str]:
        lines = (self.old, self.new)[side]
        out = [mark + line for line in lines[start:end]]
        if out and end == len(lines) and self._ends[side]:
            out.append(NO_NEWLINE)
        return out


def lines_of(text: str) -> list[str]:
    """Return the lines without their newlines; only a line feed ends one."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def apply_unified(text: str, patch: str) -> tuple[str, int]:
    """Return the patched text and the number of hunks; a hunk may have moved, its lines may not differ.

    Raises ValidationError, code `patch_failed`, details.hunk (from 1).
    """
    hunks = _hunks(patch)
    lines, done, shift = text.split("\n"), 0, 0
    for number, (start, old, new) in enumerate(hunks, 1):
        at = _find(lines, old, max(start + shift, done), done)
        if at is None:
            raise ValidationError(
                f"hunk {number} does not fit: the text has other lines", code="patch_failed", details={"hunk": number}
            )
        lines[at : at + len(old)] = new
        shift, done = at - start + len(new) - len(old), at + len(new)
    return "\n".join(lines), len(hunks)


def _hunks(patch: str) -> list[tuple[int, list[str], list[str]]]:
    """Return start (0-based), old and new lines of each hunk; a text with a newline ends in an empty line."""
    found: list[tuple[int, list[str], list[str]]] = []
    lines, at = patch.split("\n"), 0
    while at < len(lines):
        head = _HUNK.match(lines[at])
        at += 1
        if head is None:
            continue
        counts = [int(head[2] or 1) if head[2] is not None else 1, int(head[4]) if head[4] is not None else 1]
        start = int(head[1]) - (1 if counts[0] else 0)
        old: list[str] = []
        new: list[str] = []
        while at < len(lines) and (len(old) < counts[0] or len(new) < counts[1]):
            mark, body = lines[at][:1], lines[at][1:]
            if mark in ("-", " ", ""):
                old.append(body)
            if mark in ("+", " ", ""):
                new.append(body)
            if mark not in ("-", "+", " ", "", "\\"):
                break
            at += 1
        if (len(old), len(new)) != (counts[0], counts[1]):
            raise _bad_patch(len(found) + 1)
        found.append((max(0, start), *_ends(lines, at, old, new)))
    if not found:
        raise _bad_patch(1)
    return found


def _ends(lines: list[str], at: int, old: list[str], new: list[str]) -> tuple[list[str], list[str]]:
    """Give the sides their empty last line where the patch says that only one of them lacks a newline at its end."""
    body = []
    index = at - 1
    while index >= 0 and not _HUNK.match(lines[index]):
        body.append(lines[index])
        index -= 1
    body = [*reversed(body), *(lines[at : at + 1] if lines[at : at + 1] == [NO_NEWLINE] else [])]
    lacks = {body[i - 1][:1] for i in range(1, len(body)) if body[i] == NO_NEWLINE}
    if lacks == {"-"}:
        return old, [*new, ""]
    if lacks == {"+"}:
        return [*old, ""], new
    return old, new


def _find(lines: list[str], old: list[str], expected: int, lowest: int) -> int | None:
    """Return where the old lines stand: at the expected place, else the nearest one after what was patched."""
    last = len(lines) - len(old)
    for distance in range(max(expected - lowest, last - expected) + 1):
        for at in {expected - distance, expected + distance}:
            if lowest <= at <= last and lines[at : at + len(old)] == old:
                return at
    return None


def _bad_patch(number: int) -> ValidationError:
    return ValidationError(
        f"hunk {number} is not a hunk of a unified patch", code="patch_failed", details={"hunk": number}
    )


def _matcher(a: list[str], b: list[str], check: Callable[[], None]) -> Any:
    from difflib import SequenceMatcher

    class Checked(SequenceMatcher):  # type: ignore[type-arg]  # generic in the stubs only
        def find_longest_match(self, *args: Any, **options: Any) -> Any:
            check()
            return super().find_longest_match(*args, **options)

    matcher: Any = Checked(None, a, b, autojunk=False)
    if len(a) + len(b) > 2000:
        # A line that occurs often anchors nothing and makes the search quadratic.
        index: dict[str, list[int]] = matcher.b2j
        for line in [line for line, places in index.items() if len(places) > POPULAR]:
            del index[line]
    return matcher


def _cut_short(text: str) -> bool:
    return text != "" and not text.endswith("\n")


def _marked(lines: list[str], cut_short: bool) -> list[str]:
    return [*lines[:-1], lines[-1] + "\n" + NO_NEWLINE] if lines and cut_short else lines


def _span(start: int, end: int) -> str:
    count = end - start
    first = start + 1 if count else start
    return str(first) if count == 1 else f"{first},{count}"


def _range(start: int, end: int) -> str:
    count = end - start
    first = start + 1 if count else start
    return str(first) if count <= 1 else f"{first},{first + count - 1}"


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
