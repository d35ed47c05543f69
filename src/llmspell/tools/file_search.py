"""Search files below a folder by their content or their names."""

from __future__ import annotations

import fnmatch
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from llmspell.base.clock import monotonic
from llmspell.errors import LLMSpellError
from llmspell.tools._base import Case, P, ReadPath, Result, ToolContext, ToolFailure, tool, violation
from llmspell.tools._files import children
from llmspell.tools._gitignore import GitIgnore

_TEXT = (
    "txt md rst log csv tsv json jsonl yaml yml toml ini cfg conf env properties xml html htm css scss less svg "
    "js jsx ts tsx mjs cjs py pyi pyx lua rs go java kt c h cc cpp hpp cs swift rb php pl sh bash zsh fish ps1 bat "
    "sql graphql proto tex bib r jl scala clj ex exs erl hs ml dart vue svelte make cmake gradle lock tf"
)
TEXT_EXTENSIONS = frozenset(_TEXT.split())
EXCLUDED_DIRS = (".git", ".svn", ".hg", "node_modules", "target", ".idea", ".vscode", "__pycache__", ".venv")
REGEX_SECONDS = 1.0
MAX_LINE_CHARS = 4000
MAX_SKIPPED = 1000

Names = Annotated[list[str] | str | None, P("Extensions, as a list or with commas")]


class _Search:
    """One search: what it looks for, what it found, what it passed over."""

    def __init__(self, ctx: ToolContext, matcher: Matcher, context_lines: int, per_file: int, limit: int) -> None:
        self.ctx = ctx
        self.matcher = matcher
        self.context_lines = context_lines
        self.per_file = per_file
        self.limit = limit
        self.matches: list[dict[str, Any]] = []
        self.skipped: list[dict[str, str]] = []
        self.skips = 0
        self.searched = 0
        self.truncated = False

    def skip(self, path: Path, reason: str) -> None:
        self.skips += 1
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped.append({"file_path": str(path), "reason": reason})

    def by_name(self, path: Path) -> None:
        self.searched += 1
        for start, end in self.matcher.spans(path.name):
            self._add(path, 0, start, end, path.name, [], [])
            return

    def by_content(self, path: Path, max_size: int) -> None:
        try:
            with self.ctx.security.open(path) as file:
                data = file.read(max_size + 1)
        except LLMSpellError as error:
            self.skip(path, "denied" if error.kind == "security" else error.message)
            return
        if len(data) > max_size:
            self.skip(path, "too_large")
            return
        if b"\0" in data[:8192]:
            self.skip(path, "binary")
            return
        self.searched += 1
        self._lines(path, data.decode("utf-8", "replace").splitlines())

    def _lines(self, path: Path, lines: list[str]) -> None:
        around = self.context_lines
        found = 0
        for number, line in enumerate(lines):
            if number % 1000 == 0:
                self.ctx.check()
            for start, end in self.matcher.spans(line):
                before = [text[:MAX_LINE_CHARS] for text in lines[max(0, number - around) : number]]
                after = [text[:MAX_LINE_CHARS] for text in lines[number + 1 : number + 1 + around]]
                self._add(path, number + 1, start, end, line, before, after)
                found += 1
                if self.truncated or (self.per_file and found >= self.per_file):
                    return

    def _add(
        self, path: Path, number: int, start: int, end: int, line: str, before: list[str], after: list[str]
    ) -> None:
        if len(self.matches) >= self.limit:
            self.truncated = True
            return
        self.matches.append(
            {
                "file_path": str(path),
                "line_number": number,
                "column_number": start + 1,
                "line_content": line[:MAX_LINE_CHARS],
                "matched_text": line[start:end][:MAX_LINE_CHARS],
                "context_before": before,
                "context_after": after,
            }
        )


class Matcher:
    """Finds a text or a regular expression in lines; expressions share one second of time over the whole search."""

    def __init__(self, pattern: str, *, use_regex: bool, case_sensitive: bool) -> None:
        self._left = REGEX_SECONDS
        self._timed = use_regex
        self._compiled: Any
        if use_regex:
            import regex

            try:
                self._compiled = regex.compile(pattern, 0 if case_sensitive else regex.IGNORECASE)
            except (regex.error, OverflowError, RecursionError) as error:
                raise violation("pattern", f"not a regular expression: {error}", keyword="pattern") from error
        else:
            self._compiled = re.compile(re.escape(pattern), 0 if case_sensitive else re.IGNORECASE)

    def spans(self, line: str) -> Iterator[tuple[int, int]]:
        """Give start and end of every match that is not empty. Raises ToolFailure `regex_timeout`."""
        if not self._timed:
            for match in self._compiled.finditer(line):
                yield match.span()
            return
        started = monotonic()
        try:
            found = [match.span() for match in self._compiled.finditer(line, timeout=max(0.001, self._left))]
        except TimeoutError as error:
            raise ToolFailure(
                "regex_timeout",
                f"the regular expression took longer than {REGEX_SECONDS:g} s: make it simpler",
                error_kind="timeout",
            ) from error
        self._left -= monotonic() - started
        for start, end in found:
            if end > start:
                yield start, end


@tool(
    category="filesystem",
    level="restricted",
    label="search",
    timeout_ms=60_000,
    needs=("files",),
    read_only=True,
    tags=("find", "grep"),
    tests=(
        Case(
            "content",
            {"pattern": "needle", "path": "box", "context_lines": 1},
            {
                "operation": "search",
                "result": {
                    "matches": [{"line_number": 2, "column_number": 3, "context_before": ["one"]}],
                    "summary": {"total_matches": 1, "files_searched": 2, "has_matches": True},
                },
            },
            {"box/a.txt": "one\na needle\n", "box/b.txt": "hay"},
        ),
        Case(
            "names",
            {"pattern": "b.t", "path": "box", "mode": "name", "use_regex": True},
            {"result": {"summary": {"total_matches": 1}}},
            {"box/a.txt": "", "box/b.txt": ""},
        ),
    ),
)
def file_search(
    pattern: Annotated[str, P("What to look for", min_length=1, max_length=1000, aliases=("query",))],
    path: Annotated[ReadPath, P("Folder or file", aliases=("directory",))],
    mode: Annotated[Literal["content", "name"], P("Where to look")] = "content",
    recursive: Annotated[bool, P("Look into folders below")] = False,
    case_sensitive: Annotated[bool, P("Tell A from a")] = True,
    use_regex: Annotated[bool, P("The pattern is a regular expression")] = False,
    context_lines: Annotated[int, P("Lines shown before and after", ge=0, le=50)] = 2,
    include_extensions: Names = None,
    exclude_extensions: Names = None,
    exclude_dirs: Annotated[list[str] | None, P("Names of folders passed over")] = None,
    respect_gitignore: Annotated[bool, P("Pass over what .gitignore names")] = False,
    max_file_size: Annotated[int, P("Largest file looked into, bytes", ge=1)] = 10_485_760,
    max_matches_per_file: Annotated[int, P("0 for no limit", ge=0)] = 0,
    max_results: Annotated[int, P("At most so many matches", ge=1, le=10_000)] = 1000,
    max_depth: Annotated[int, P("Depth of folders", ge=0, le=100)] = 20,
    *,
    ctx: ToolContext,
) -> Result:
    """Search files by content or by name."""
    matcher = Matcher(pattern, use_regex=use_regex, case_sensitive=case_sensitive)
    search = _Search(ctx, matcher, context_lines, max_matches_per_file, max_results)
    default = TEXT_EXTENSIONS if mode == "content" else frozenset()
    wanted = default if include_extensions is None else _extensions(include_extensions)
    unwanted = _extensions(exclude_extensions)
    excluded = EXCLUDED_DIRS if exclude_dirs is None else tuple(exclude_dirs)
    if stat.S_ISDIR(ctx.security.stat(path).st_mode):
        depth = max_depth if recursive else 0
        files = _files(ctx, path, depth=depth, excluded=excluded, ignores=[] if respect_gitignore else None)
    else:
        files, wanted = iter([path]), frozenset()
    for file in files:
        extension = file.suffix.lower().lstrip(".")
        if (wanted and extension not in wanted) or extension in unwanted:
            continue
        if mode == "name":
            search.by_name(file)
        else:
            search.by_content(file, min(max_file_size, ctx.security.max_file_size))
        if search.truncated:
            break
    return _result(search)


def _result(search: _Search) -> Result:
    total = len(search.matches)
    value = {
        "matches": search.matches,
        "summary": {
            "total_matches": total,
            "files_searched": search.searched,
            "files_skipped": search.skips,
            "has_matches": total > 0,
            "truncated": search.truncated,
        },
        "skipped_files": search.skipped,
    }
    lines = [
        f"{match['file_path']}:{match['line_number']}: {match['line_content']}"
        if match["line_number"]
        else match["file_path"]
        for match in search.matches
    ]
    return Result(value, text="\n".join(lines) or "No matches", metadata={"count": total})


def _extensions(names: list[str] | str | None) -> frozenset[str]:
    if names is None:
        return frozenset()
    items = names.split(",") if isinstance(names, str) else names
    return frozenset(item.strip().lower().lstrip("*").lstrip(".") for item in items if item.strip())


def _files(
    ctx: ToolContext,
    folder: Path,
    *,
    depth: int,
    excluded: tuple[str, ...],
    ignores: list[tuple[Path, GitIgnore]] | None,
) -> Iterator[Path]:
    """Give the regular files of a folder, then those of the folders in it; links are not followed."""
    ctx.check()
    try:
        listed = children(ctx, folder)
    except LLMSpellError as error:
        ctx.warn(f"{folder}: {error.message}")
        return
    if ignores is not None:
        ignores = _with_rules(ctx, folder, listed, ignores)
    folders: list[Path] = []
    for path, status in listed:
        is_folder = stat.S_ISDIR(status.st_mode)
        if ignores and _ignored(path, ignores, folder=is_folder):
            continue
        if stat.S_ISREG(status.st_mode):
            yield path
        elif is_folder and depth > 0 and not any(fnmatch.fnmatchcase(path.name, name) for name in excluded):
            folders.append(path)
    for path in folders:
        yield from _files(ctx, path, depth=depth - 1, excluded=excluded, ignores=ignores)


def _with_rules(
    ctx: ToolContext, folder: Path, listed: list[tuple[Path, Any]], ignores: list[tuple[Path, GitIgnore]]
) -> list[tuple[Path, GitIgnore]]:
    if not any(path.name == ".gitignore" and stat.S_ISREG(status.st_mode) for path, status in listed):
        return ignores
    text = ctx.security.read(folder / ".gitignore", limit=1_000_000).decode("utf-8", "replace")
    return [*ignores, (folder, GitIgnore(text))]


def _ignored(path: Path, ignores: list[tuple[Path, GitIgnore]], *, folder: bool) -> bool:
    for base, rules in reversed(ignores):
        verdict = rules.verdict(path.relative_to(base).as_posix(), folder=folder)
        if verdict is not None:
            return verdict
    return False
