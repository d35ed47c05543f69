"""`config show`, `get`, `validate`, `schema`, `env`: reading."""

from __future__ import annotations

import sys
from pathlib import Path

from llmspell.cli.grammar import UsageError
from llmspell.cli.start import load_config
from llmspell.config.terminal import environment, home_folder
from llmspell.errors import ConfigurationError, LLMSpellError, NotFound, SecurityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output
    from llmspell.config import Config


def show(call: Call, out: Output) -> int:
    """Show effective values, or the built-in defaults."""
    from llmspell.config.model import Config as Defaults

    path = call.args[0] if call.args else ""
    if call.get("defaults"):
        config, origin = Defaults(), {}
    else:
        loaded = load_config(call, out)
        config, origin = loaded.config, loaded.origin
    value = _value(config, path, mask=not _secrets_wanted(call))
    form = call.get("format") or ("toml" if out.plain else out.form)
    if call.get("origin"):
        rows = _origins(value, path, origin)
        out.emit(
            {"path": path, "values": rows},
            lambda: out.table(("KEY", "VALUE", "LAYER", "PLACE"), [_origin_row(row) for row in rows]),
            items="values",
        )
        return 0
    payload = {"path": path, "config": value}
    out.emit(payload, lambda: _rendered(value, path, form))
    return 0


def get(call: Call, out: Output) -> int:
    """Show one value: text as it is, other values as TOML."""
    from llmspell.config.toml_file import to_toml

    path = call.args[0]
    value = _value(load_config(call, out).config, path, mask=not _secrets_wanted(call))
    out.emit(
        {"key": path, "value": value}, "" if value is None else value if isinstance(value, str) else to_toml(value)
    )
    return 0


def validate(call: Call, out: Output) -> int:
    """Check one file, or everything that takes part."""
    from llmspell.config.check import advice
    from llmspell.config.loading import find_files, load

    home = Path(home_folder(call.flag("home")))
    environ = environment()
    explicit = call.args[0] if call.args else call.flag("config")
    if call.args and not Path(call.args[0]).is_file():
        raise NotFound(f"no file {call.args[0]}", details={"path": call.args[0]})
    files = find_files(explicit=explicit, environ=environ, cwd=Path.cwd(), home=home)
    place = str(explicit or files.project or files.home or "")
    errors: list[dict[str, Any]] = []
    warnings: list[str] = []
    failure: LLMSpellError | None = None
    try:
        loaded = load(
            explicit=explicit, profile=call.flag("profile"), sets=call.flag("set") or (), environ=environ,
            cwd=Path.cwd(), home=home,
        )  # fmt: skip
        warnings = [*loaded.warnings, *advice(loaded.config)]
    except (ConfigurationError, SecurityError) as error:
        failure = error
        single = {"key": "", "message": error.message, "line": error.details.get("line"), "suggestion": None}
        errors = error.details.get("errors") or [single]
    out.warnings += warnings
    valid = failure is None and not (call.get("strict") and warnings)
    payload = {"valid": valid, "path": place or None, "errors": errors}
    lines = [f"{_place(item)}{item['message']}" for item in errors] + [f"warning: {text}" for text in warnings]
    verdict = f"{place or 'configuration'}: " + ("valid" if valid else "invalid")
    wire = None if valid else (failure or ConfigurationError("warnings fail with --strict")).to_wire()
    out.emit(payload, "\n".join([*lines, verdict]), error=wire)
    return 0 if valid else 5 if isinstance(failure, SecurityError) else 3


def schema(_call: Call, out: Output) -> int:
    """Write the JSON Schema of the configuration."""
    from llmspell.cli.output import to_json
    from llmspell.config.describe import json_schema

    found = json_schema()
    out.emit({"schema_document": found}, lambda: to_json(found, indent=2))
    return 0


def env(call: Call, out: Output) -> int:
    """List every variable with its key and type, and whether it is set."""
    from llmspell.config.describe import variables

    rows = [row for row in variables(environment()) if row["set"] or not call.get("set_only")]
    out.emit(
        {"variables": rows, "count": len(rows)},
        lambda: out.table(
            ("VARIABLE", "KEY", "TYPE", "SET"),
            [(row["name"], row["key"] or row["text"], row["type"], "yes" if row["set"] else "") for row in rows],
        ),
        items="variables",
    )
    return 0


def _place(item: dict[str, Any]) -> str:
    if item.get("path") and item.get("line"):
        return f"{item['path']}:{item['line']}: "
    return f"{item['path']}: " if item.get("path") else ""


def _secrets_wanted(call: Call) -> bool:
    if not call.get("show_secrets"):
        return False
    if not (sys.stdout.isatty() or call.get("yes")):
        raise UsageError("--show-secrets needs a terminal", "add --yes to write secrets to a file or pipe")
    return True


_MISSING = object()


def _value(config: Config, path: str, *, mask: bool) -> Any:
    from llmspell.config.aliases import canonical
    from llmspell.config.flatten import suggestion
    from llmspell.config.schema import value_at

    plain = path.replace("-", "_") if not path.startswith("providers.") else path
    value = value_at(config, canonical(plain) if plain else "", _MISSING, mask=mask)
    if value is _MISSING:
        near = suggestion(canonical(plain))
        hint = {"hint": f"did you mean {near}?"} if near else {}
        raise NotFound(f"no configuration section or key {path!r}", details={"path": path, **hint})
    return value


def _origins(value: Any, path: str, origin: dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(value, dict) and value and path not in origin:
        rows = []
        for name, item in value.items():
            rows += _origins(item, f"{path}.{name}" if path else name, origin)
        return rows
    layer, file, line = origin.get(path, ("default", None, None))
    return [{"key": path, "value": value, "layer": layer, "file": file, "line": line}]


def _origin_row(row: dict[str, Any]) -> tuple[str, ...]:
    from llmspell.config.toml_file import to_toml

    place = "" if row["file"] is None else f"{row['file']}:{row['line']}" if row["line"] else row["file"]
    return (row["key"], "" if row["value"] is None else to_toml(row["value"]), row["layer"], place)


def _rendered(value: Any, path: str, form: str) -> str:
    from llmspell.cli.output import render
    from llmspell.config.describe import toml_document
    from llmspell.config.toml_file import to_toml

    if form in ("json", "yaml"):
        return render(value, form)
    return toml_document(value, path) if isinstance(value, dict) else to_toml(value) if value is not None else ""
