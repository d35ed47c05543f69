"""Rules of one `.gitignore`.

Source: gitignore(5): the last match wins, `!` takes back, `/` anchors, a trailing `/` means folders.
"""

from __future__ import annotations

import re

MAX_RULES = 2000


class GitIgnore:
    """The rules of a file, asked with paths relative to its folder."""

    def __init__(self, text: str) -> None:
        self._rules: list[tuple[re.Pattern[str], bool, bool]] = []
        for line in text.splitlines()[:MAX_RULES]:
            self._add(line)

    def verdict(self, relative: str, *, folder: bool) -> bool | None:
        """Return True for ignored, False for taken back by `!`, None if no rule speaks."""
        answer: bool | None = None
        for pattern, ignored, only_folders in self._rules:
            if (folder or not only_folders) and pattern.fullmatch(relative):
                answer = ignored
        return answer

    def _add(self, line: str) -> None:
        line = line.rstrip("\n").rstrip(" ") if not line.endswith("\\ ") else line
        if not line or line.startswith("#") or len(line) > 1000:
            return
        ignored = not line.startswith("!")
        line = line.removeprefix("!").removeprefix("\\")
        only_folders = line.endswith("/")
        line = line.rstrip("/")
        anchored = "/" in line
        line = line.lstrip("/")
        if line:
            prefix = "" if anchored else "(?:[^/]+/)*+"
            try:
                compiled = re.compile(prefix + _regex(line))
            except re.error:  # such as a class with its ends exchanged, which git ignores too
                return
            self._rules.append((compiled, ignored, only_folders))


def _regex(pattern: str) -> str:
    out: list[str] = []
    index = 0
    pattern = re.sub(r"\*{3,}", "**", pattern)
    while index < len(pattern):
        char = pattern[index]
        if pattern.startswith("**/", index):
            out.append("(?:[^/]+/)*+")
            index += 3
            continue
        if pattern.startswith("**", index):
            out.append(".*")
            index += 2
            continue
        if char == "[":
            close = pattern.find("]", index + 2)
            if close > 0:
                inner = pattern[index + 1 : close].replace("\\", r"\\").replace("[", r"\[").replace("&&", "&")
                out.append("[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]")
                index = close + 1
                continue
        out.append({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)))
        index += 1
    return "".join(out)
