"""`tool list`, `tool info`, `tool search`: answered from the manifest, no tool is imported."""

from __future__ import annotations

from llmspell.cli.grammar import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output


def list_tools(call: Call, out: Output) -> int:
    """List tools by name."""
    found = sorted(
        _in_category(_entries(call.get("source", "all")), call.get("category")), key=lambda item: str(item["name"])
    )
    aliases = bool(call.get("aliases"))
    rows = [_row(item, aliases) for item in found]
    payload = {"tools": [_brief(item, aliases) for item in found], "count": len(found)}
    headers = ("NAME", "CATEGORY", "ALIASES", "DESCRIPTION") if aliases else ("NAME", "CATEGORY", "DESCRIPTION")
    out.emit(payload, lambda: out.table(headers, rows), items="tools")
    return 0


def info(call: Call, out: Output) -> int:
    """Describe one tool, by name or alias."""
    entries = _entries("all")
    item = find(entries, call.args[0])
    if item is None:
        return _unknown(call.args[0], entries)
    payload = {
        **_brief(item, aliases=True),
        "version": item.get("version"),
        "aliases": list(item.get("aliases", ())),
        "parameters": item.get("parameters", []),
        "returns": item.get("returns"),
        "annotations": item.get("annotations", {}),
    }
    for name in ("operations", "tags", "needs", "extra"):
        if item.get(name):
            payload[name] = item[name]
    if call.get("show_schema"):
        payload["schema"] = _schema(str(item["name"]))
    out.emit(payload, lambda: _description(payload, out))
    return 0


def search(call: Call, out: Output) -> int:
    """Rank tools by how well name, aliases, description and parameters match the words."""
    limit = call.get("limit", "20")
    if not limit.isdigit() or limit == "0":
        raise UsageError(f"--limit {limit}: expected a number above 0")
    words = [word.lower() for argument in call.args for word in argument.split()]
    scored = [(score(item, words), item) for item in _in_category(_entries("all"), call.get("category"))]
    hits = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: (-pair[0], pair[1]["name"]))[: int(limit)]
    matches = [
        {"name": item["name"], "score": value, "category": item["category"], "description": item["description"]}
        for value, item in hits
    ]
    rows = [(match["name"], f"{match['score']:.2f}", match["category"], match["description"]) for match in matches]
    text = out.table(("NAME", "SCORE", "CATEGORY", "DESCRIPTION"), rows) if rows else "no tool matches"
    out.emit({"matches": matches, "count": len(matches)}, text, items="matches")
    return 0


def score(item: dict[str, Any], words: list[str]) -> float:
    """Return how well a tool matches all words, 0 to 1; a word counts most as the exact name, least in a parameter."""
    name = str(item["name"]).lower()
    aliases = [str(alias).lower().replace("_", "-") for alias in item.get("aliases", ())]
    tags = [str(tag).lower() for tag in item.get("tags", ())] + [str(item["category"])]
    description = str(item["description"]).lower()
    parameters = " ".join(
        f"{one.get('name', '')} {one.get('description', '')}" for one in item.get("parameters", ())
    ).lower()
    total = 0.0
    for word in words:
        plain = word.replace("_", "-")
        steps = (
            (plain == name or plain in aliases, 1.0),
            (plain in name, 0.8),
            (any(plain in alias for alias in aliases), 0.7),
            (word in tags, 0.5),
            (word in description, 0.4),
            (word in parameters, 0.2),
        )
        total += next((value for hit, value in steps if hit), 0.0)
    return round(total / len(words), 4) if words else 0.0


def find(entries: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """Return the tool of that name or alias; `-` and `_` are the same."""
    plain = name.replace("_", "-").lower()
    for item in entries:
        names = [str(item["name"]), *item.get("aliases", ())]
        if plain in (one.replace("_", "-").lower() for one in names):
            return item
    return None


def _entries(source: str) -> list[dict[str, Any]]:
    """Return the tools from the manifest; those of other packages are imported only when asked for by `plugin`."""
    from llmspell.tools._manifest import MANIFEST

    # other packages' tools cost reading all package metadata: only `plugin` asks for them
    if source == "plugin":
        from llmspell.tools._catalog import Catalog

        return [item for item in Catalog().entries() if item.get("source", "builtin") != "builtin"]
    return MANIFEST


def _in_category(entries: list[dict[str, Any]], category: str | None) -> list[dict[str, Any]]:
    if category is None:
        return entries
    known = sorted({str(item["category"]) for item in entries})
    if category.lower() not in known:
        raise UsageError(f"unknown category {category!r}", f"one of {', '.join(known)}")
    return [item for item in entries if item["category"] == category.lower()]


def _brief(item: dict[str, Any], aliases: bool) -> dict[str, Any]:
    brief = {
        "name": item["name"],
        "category": item["category"],
        "description": item["description"],
        "security_level": item["level"],
    }
    return {**brief, "aliases": list(item.get("aliases", ()))} if aliases else brief


def _row(item: dict[str, Any], aliases: bool) -> tuple[str, ...]:
    names = (", ".join(item.get("aliases", ())),) if aliases else ()
    return (item["name"], item["category"], *names, item["description"])


def _schema(name: str) -> dict[str, Any]:
    """Return the parameter schema; the one question here that imports the tool."""
    from llmspell.tools._catalog import Catalog

    return Catalog().require(name).input_schema


def _description(payload: dict[str, Any], out: Output) -> str:
    lines = [
        out.heading(payload["name"]),
        payload["description"],
        "",
        f"category        {payload['category']}",
        f"security level  {payload['security_level']}",
        f"version         {payload['version']}",
    ]
    if payload["aliases"]:
        lines.append(f"aliases         {', '.join(payload['aliases'])}")
    if payload["parameters"]:
        rows = [
            (
                one["name"],
                one.get("type", "any"),
                "yes" if one.get("required") else "",
                _default(one),
                one.get("description", ""),
            )
            for one in payload["parameters"]
        ]
        lines += ["", out.table(("PARAMETER", "TYPE", "REQUIRED", "DEFAULT", "DESCRIPTION"), rows)]
    if payload.get("operations"):
        steps = [(one["name"], one.get("level", ""), one.get("description", "")) for one in payload["operations"]]
        lines += ["", out.table(("OPERATION", "LEVEL", "DESCRIPTION"), steps)]
    if "schema" in payload:
        from llmspell.cli.output import to_json

        lines += ["", to_json(payload["schema"], indent=2)]
    return "\n".join(lines)


def _default(one: dict[str, Any]) -> str:
    value = one.get("default")
    return (
        ""
        if value is None
        else value
        if isinstance(value, str)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def _unknown(name: str, entries: list[dict[str, Any]]) -> int:
    from llmspell.base.registry import nearest
    from llmspell.errors import ToolError

    names = [str(one) for item in entries for one in (item["name"], *item.get("aliases", ()))]
    near = nearest(name, names)
    hint = f"did you mean {' or '.join(repr(one) for one in near)}?" if near else "see llmspell tool list"
    raise ToolError(
        f"unknown tool {name!r}", code="not_found", details={"name": name, "suggestions": near, "hint": hint}
    )
