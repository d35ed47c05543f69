"""One suite over every registered tool: names, schemas, refusals, self-tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest

from llmspell.base.effects import Direct
from llmspell.config.model import Config
from llmspell.errors import SecurityError, ValidationError
from llmspell.security import Security
from llmspell.tools import Tools
from llmspell.tools._base import CATEGORIES
from llmspell.tools._build_manifest import render
from llmspell.tools._manifest import MANIFEST

NAMES = [entry["name"] for entry in MANIFEST]


def tools_in(folder: Path, **options) -> Tools:
    config = Config()
    security = Security(config, home=folder / "home", cwd=folder)
    return Tools(config.tools, security=security, http=None, state=None, effects=Direct(), cwd=folder, **options)


def contains(actual, expected) -> bool:
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(k in actual and contains(actual[k], v) for k, v in expected.items())
    if isinstance(expected, list):
        return isinstance(actual, list) and len(actual) == len(expected) and all(map(contains, actual, expected))
    if isinstance(expected, float) and isinstance(actual, int | float):
        return abs(actual - expected) <= 1e-9
    return actual == expected and isinstance(actual, bool) == isinstance(expected, bool)


def test_the_manifest_is_what_the_tools_say():
    written = Path(sys.modules["llmspell.tools._manifest"].__file__).read_text(encoding="utf-8")
    assert written == render(), "stale: run python -m llmspell.tools._build_manifest"


def test_the_manifest_imports_nothing_and_the_registry_opens_no_tool():
    code = (
        "import sys; before = set(sys.modules)\n"
        "import llmspell.tools._manifest\n"
        "new = {m for m in set(sys.modules) - before if not m.startswith('llmspell')}\n"
        "assert new <= {'__future__'}, new\n"
        "import llmspell.tools._registry\n"
        "opened = [m for m in sys.modules if m.startswith('llmspell.tools.') and '._' not in m]\n"
        "assert not opened, opened\n"
        "assert 'asyncio' not in sys.modules and 'logging' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_no_two_tools_share_a_name_or_alias():
    seen: dict[str, str] = {}
    for entry in MANIFEST:
        for name in {entry["name"], *(alias.replace("_", "-") for alias in entry["aliases"])}:
            assert name not in seen, f"{name} is claimed by {seen.get(name)} and {entry['name']}"
            seen[name] = entry["name"]


@pytest.mark.parametrize("name", NAMES)
def test_a_tool_describes_itself_completely(name, tmp_path):
    tools = tools_in(tmp_path)
    spec = tools.get(name)
    assert spec is not None
    assert spec.name == name
    assert spec.category in CATEGORIES
    assert spec.description
    schema = tools.schema(name)
    jsonschema_rs.Draft202012Validator(schema["input_schema"])
    assert schema["input_schema"]["type"] == "object"
    assert len(schema["schema_hash"]) == 64
    for op in spec.ops.values():
        assert op.description or spec.single, f"{op.name} has no description"
    for parameter in schema["parameters"]:
        assert parameter["description"], f"{parameter['name']} has no description"
    for alias in spec.aliases:
        assert tools.get(alias) is spec


@pytest.mark.parametrize("name", NAMES)
async def test_an_unknown_parameter_is_refused_by_name(name, tmp_path):
    with pytest.raises(ValidationError, match="nonsense") as caught:
        await tools_in(tmp_path).call(name, {"nonsense": 1})
    assert caught.value.code == "schema_violation"
    assert any(error["path"] == "nonsense" for error in caught.value.details["errors"])


@pytest.mark.parametrize("name", NAMES)
async def test_every_self_test_of_a_tool_holds(name, tmp_path):
    for index, case in enumerate(tools_in(tmp_path).cases(name)):
        folder = tmp_path / str(index)
        folder.mkdir()
        for path, text in case.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text if isinstance(text, bytes) else text.encode())
        envelope = await tools_in(folder, level="privileged").call(name, case.params)
        assert contains(envelope, case.expect), f"{case.name}: {envelope}"


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_without_network_has_a_self_test(name, tmp_path):
    spec = tools_in(tmp_path).get(name)
    if "network" in spec.header.needs:
        pytest.skip("needs the network: tested against a local server")
    default = spec.default_op.name if spec.default_op else None
    asked = {case.params.get("operation", default) for case in spec.cases}
    tested = {spec.find_op[word.replace("-", "_")].name for word in asked if word.replace("-", "_") in spec.find_op}
    assert set(spec.ops) <= tested or spec.single, f"without self-test: {set(spec.ops) - tested}"
    assert spec.cases


@pytest.mark.parametrize("name", NAMES)
async def test_no_tool_reads_a_path_outside(name, tmp_path):
    spec = tools_in(tmp_path).get(name)
    tried = False
    for op in spec.ops.values():
        marks = {p.name: p.convert for p in op.params.values() if p.convert and p.convert.mark.startswith("path")}
        required = set(op.required) - set(marks)
        if not marks or any(op.params[other].schema.get("type") != "string" for other in required):
            continue
        for param, convert in marks.items():
            outside = "/proc/self/environ"
            others = {other: "inside" for other in marks if other != param and other in op.required}
            plain = {
                other: "http://127.0.0.1/" if op.params[other].schema.get("format") == "uri" else "x"
                for other in required
            }
            params = {**plain, **others, param: [outside] if convert.many else outside}
            if not spec.single:
                params["operation"] = op.name
            with pytest.raises(SecurityError) as caught:
                await tools_in(tmp_path, level="privileged").call(name, params)
            assert caught.value.code == "path_denied"
            tried = True
    if not tried and any(
        p.convert and p.convert.mark.startswith("path") for o in spec.ops.values() for p in o.params.values()
    ):
        pytest.fail("has path parameters, but none could be tried")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hostile", [-(2**63), 2**63 - 1, 1e308, "x" * 70_000, [[[[]]]], {"a": {"b": None}}, True])
async def test_a_hostile_value_gives_an_envelope_or_a_refusal(name, hostile, tmp_path):
    tools = tools_in(tmp_path)
    spec = tools.get(name)
    if "network" in spec.header.needs:
        pytest.skip("would reach for the network")
    for op in spec.ops.values():
        params = dict.fromkeys(op.required, hostile)
        if not spec.single:
            params["operation"] = op.name
        try:
            envelope = await tools.call(name, params, timeout_ms=3000)
        except (ValidationError, SecurityError):
            continue
        assert isinstance(envelope["success"], bool)
        assert envelope["success"] or envelope["error"]["kind"] != "internal", envelope["error"]
