"""`config init`, `set`, `unset`: writing files, never one that would not load."""

from __future__ import annotations

import sys
from pathlib import Path

from llmspell.config.terminal import environment, home_folder
from llmspell.errors import AlreadyExists, ConfigurationError, NotFound, StorageFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output

DEFAULT_NAME = "llmspell.toml"


def init(call: Call, out: Output) -> int:
    """Write a commented configuration file, mode 0600."""
    from llmspell.base.files import replace
    from llmspell.config.describe import commented

    target = Path(call.args[0] if call.args else call.get("output") or DEFAULT_NAME)
    if target.exists() and not call.get("force"):
        raise AlreadyExists(
            f"{target} exists", details={"path": str(target), "hint": "use --force to replace it, or name another file"}
        )
    stated: dict[str, Any] = {}
    if call.flag("profile"):
        from llmspell.config.profiles import resolve

        resolve(call.flag("profile"), home=Path(home_folder(call.flag("home"))), project=None, cwd=Path.cwd())
        stated["profile"] = call.flag("profile")
    if call.get("interactive"):
        stated |= _asked()
    _make_folder(target.parent)
    replace(target, commented(minimal=bool(call.get("minimal")), stated=stated).encode())
    out.emit({"path": str(target), "profile": stated.get("profile")}, f"wrote {target}")
    return 0


def assign(call: Call, out: Output) -> int:
    """Set a key in the home file, in --file, or in the project file."""
    from llmspell.config.toml_file import parse_value

    key, text = call.args
    path = _edited(call, key, parse_value(text), text)
    out.emit({"key": key, "path": str(path)}, f"set {key} in {path}")
    return 0


def unset(call: Call, out: Output) -> int:
    """Remove a key from a file."""
    key = call.args[0]
    path = _edited(call, key, None, None)
    out.emit({"key": key, "path": str(path)}, f"removed {key} from {path}")
    return 0


def _edited(call: Call, key: str, value: Any, text: str | None) -> Path:
    """Change the key, check the result as the layer it is, then replace the file."""
    from llmspell.base.files import replace
    from llmspell.config.toml_file import change, parse

    target = _target(call)
    before = _text_of(target)
    document = parse(before, str(target))
    path = _path_in(document, key)
    if value is None and not _holds(document, path):
        raise NotFound(f"{target} does not set {key}", details={"path": str(target), "key": key})
    checked = _checked(key, value, text) if value is not None else None
    after = change(before, path, checked, name=str(target))
    _validate(after, target)
    fresh = not target.exists()
    if fresh:
        _make_folder(target.parent)
    replace(target, after.encode(), mode=0o600 if fresh else target.stat().st_mode & 0o777)
    return target


def _text_of(target: Path) -> str:
    """Return the text of a configuration file, empty when there is none. Raises ConfigurationError."""
    try:
        return target.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{target} is not UTF-8 text and not changed", details={"path": str(target)}
        ) from error
    except OSError as error:
        raise ConfigurationError(f"cannot read {target}: {error.strerror}", details={"path": str(target)}) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageFailure(
            f"cannot make the folder {folder}: {error.strerror}", details={"path": str(folder), "errno": error.errno}
        ) from error


def _target(call: Call) -> Path:
    if call.get("file"):
        return Path(call.get("file"))
    if call.get("project"):
        from llmspell.config.loading import find_files

        files = find_files(explicit=None, environ=environment(), cwd=Path.cwd(), home=None)
        return Path(files.project) if files.project else Path.cwd() / DEFAULT_NAME
    return Path(home_folder(call.flag("home"))) / "config.toml"


def _path_in(document: dict[str, Any], key: str) -> tuple[str, ...]:
    """Return the parts of a dotted key in the spelling the file uses: `-` and `_` are one character."""
    parts: list[str] = []
    table: Any = document
    for part in key.split("."):
        names = table if isinstance(table, dict) else {}
        spelled = next((name for name in names if name.replace("-", "_") == part.replace("-", "_")), part)
        parts.append(spelled)
        table = names.get(spelled)
    return tuple(parts)


def _holds(document: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(document, dict) or part not in document:
            return False
        document = document[part]
    return True


def _checked(key: str, value: Any, text: str | None) -> Any:
    """Return the value in the type of the key: `true` for a text key stays text, one word for an array is one item."""
    from llmspell.config import schema, values
    from llmspell.config.aliases import canonical

    found = schema.find(canonical(key.replace("-", "_") if not key.startswith("providers.") else key))
    if found is None:
        return value  # unknown keys and whole tables are judged with the file
    if found.kind == "string" and not isinstance(value, str):
        value = text
    try:
        checked = values.check(found, key, value, text=True)
    except ValueError as error:
        raise ConfigurationError(str(error), details={"key": key}) from error
    return list(checked) if isinstance(checked, tuple) else checked


def _validate(text: str, target: Path) -> None:
    """Load the new text in place of the file, alone. References to the environment may be unset here."""
    from llmspell.config.flatten import flatten
    from llmspell.config.origin import FILE, Layer, Problem
    from llmspell.config.schema import find
    from llmspell.config.toml_file import line_numbers, parse
    from llmspell.config.values import check

    problems: list[Problem] = []
    layer = Layer(FILE, str(target), parse(text, str(target)), line_numbers(text))
    for entry in flatten([layer], problems, []):
        key = find(entry.path)
        if key is None or "${" in str(entry.value):
            continue
        try:
            check(key, entry.path, entry.value)
        except ValueError as error:
            problems.append(Problem(entry.path, str(error), *layer.place(entry.given)))
    if problems:
        raise ConfigurationError(
            f"{target} is not changed: {problems[0].message}", details={"errors": [one.plain() for one in problems]}
        )


def _asked() -> dict[str, Any]:
    """Ask on the terminal for the most important values."""
    answers: dict[str, Any] = {}
    questions = (
        ("providers.default_provider", "Default provider (empty for none)"),
        ("providers.default_model", "Default model (empty for none)"),
        ("engines.lua.sandbox", "Sandbox profile: auto, safe, standard, full"),
    )
    for key, question in questions:
        sys.stderr.write(f"{question}: ")
        sys.stderr.flush()
        answer = sys.stdin.readline().strip()
        if answer:
            answers[key] = _checked(key, answer, answer)
    return answers
