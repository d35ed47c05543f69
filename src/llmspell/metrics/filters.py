"""Which modules may log: rules by name, the most specific one wins.

    exact          the name itself
    hierarchical   the name and everything below it, `app` for `app.db`
    wildcard       `*` any text, `?` one character
    regex          found anywhere in the name

Specific is what has more literal characters; of equals exact before hierarchical before wildcard before regex, then the
rule that came last. Patterns come from scripts: wildcards match in linear time, a regular expression has a time limit
and a rule whose limit passes does not match.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

KINDS = ("regex", "wildcard", "hierarchical", "exact")
MAX_RULES = 1000
MAX_PATTERN = 500
_REGEX_SECONDS = 0.01
_MAX_CACHE = 1000


class Rule(NamedTuple):
    """One rule; `rank` orders by how specific it is."""

    pattern: str
    kind: str
    enabled: bool
    rank: tuple[int, int]
    fits: Callable[[str], bool]


class Filters:
    """The rules of one log. Not for several threads at once."""

    def __init__(self) -> None:
        self.default = True
        self.rules: list[Rule] = []
        self._cache: dict[str, bool] = {}

    def add(self, pattern: str, kind: str, enabled: bool) -> bool:
        """Add a rule; False for an unknown kind, a bad regular expression or too many rules."""
        fits = _matcher(pattern, kind) if len(pattern) <= MAX_PATTERN and len(self.rules) < MAX_RULES else None
        if fits is None:
            return False
        literal = 0 if kind == "regex" else sum(sign not in "*?" for sign in pattern)
        self.rules.append(Rule(pattern, kind, enabled, (literal, KINDS.index(kind)), fits))
        self._cache.clear()
        return True

    def add_plain(self, pattern: str, enabled: bool) -> bool:
        """Add a wildcard rule when there is a wildcard in it, else a hierarchical one."""
        return self.add(pattern, "wildcard" if "*" in pattern or "?" in pattern else "hierarchical", enabled)

    def remove(self, pattern: str) -> bool:
        """Remove every rule of that pattern; tell whether there was one."""
        kept = [rule for rule in self.rules if rule.pattern != pattern]
        removed = len(kept) < len(self.rules)
        self.rules = kept
        self._cache.clear()
        return removed

    def clear(self) -> None:
        """Remove all rules."""
        self.rules = []
        self._cache.clear()

    def set_default(self, enabled: bool) -> None:
        """Say what holds for a module that no rule matches."""
        self.default = enabled
        self._cache.clear()

    def allows(self, module: str) -> bool:
        """Tell whether a module may log."""
        if not self.rules:
            return self.default
        known = self._cache.get(module)
        if known is None:
            best: Rule | None = None
            for rule in self.rules:
                if (best is None or rule.rank >= best.rank) and rule.fits(module):
                    best = rule
            known = self.default if best is None else best.enabled
            if len(self._cache) >= _MAX_CACHE:
                self._cache.clear()
            self._cache[module] = known
        return known

    def summary(self) -> dict[str, Any]:
        """Return `{default_enabled, total_rules, rules}`."""
        rules = [{"pattern": r.pattern, "pattern_type": r.kind, "enabled": r.enabled} for r in self.rules]
        return {"default_enabled": self.default, "total_rules": len(rules), "rules": rules}


def _matcher(pattern: str, kind: str) -> Callable[[str], bool] | None:
    if kind == "exact":
        return lambda module: module == pattern
    if kind == "hierarchical":
        below = pattern + "."
        return lambda module: module == pattern or module.startswith(below)
    if kind == "wildcard":
        return lambda module: _wildcard(pattern, module)
    return _regex(pattern) if kind == "regex" else None


def _wildcard(pattern: str, text: str) -> bool:
    """Match greedily, going back to the last `*` only: at most pattern times text steps."""
    p = t = 0
    star, mark = -1, 0
    while t < len(text):
        if p < len(pattern) and pattern[p] == "*":
            star, mark = p, t
            p += 1
        elif p < len(pattern) and pattern[p] in ("?", text[t]):
            p += 1
            t += 1
        elif star >= 0:
            p, mark = star + 1, mark + 1
            t = mark
        else:
            return False
    return all(sign == "*" for sign in pattern[p:])


def _regex(pattern: str) -> Callable[[str], bool] | None:
    import regex

    try:
        compiled = regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError, MemoryError):
        return None

    def fits(module: str) -> bool:
        try:
            return compiled.search(module[:MAX_PATTERN], timeout=_REGEX_SECONDS) is not None
        except TimeoutError:
            return False

    return fits
