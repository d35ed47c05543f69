"""Each case of acceptance.lua prints exactly the lines after it, in a fresh interpreter and an empty home."""

import asyncio
import io
import re
from pathlib import Path

import pytest

from llmspell.app import App
from llmspell.config import load
from llmspell.lua.engine import Interpreter

HEAD = re.compile(r"-- @(\d\d) ([^\[\n]*)(.*)\n")
TEXT = Path(__file__).with_name("acceptance.lua").read_text()
CASES = [case for case in re.split(r"(?m)^(?=-- @\d\d)", TEXT) if case.strip()]


def parts(case):
    head = HEAD.match(case)
    options = dict(item.partition("=")[::2] for item in re.findall(r"\[([^\]]*)\]", head[3]))
    lines = case[head.end() :].split("\n")
    code = "\n".join(line for line in lines if not line.startswith("-->"))
    expected = [line[4:] for line in lines if line.startswith("-->")]
    return head[1], options, code, expected


async def run(options, code, tmp_path):
    sets = ["runtime.state_persistence.backend_type=memory"]
    sets += [f"{key}={value}" for key, value in options.items() if key.startswith("engines.")]
    loaded = load(sets=sets, environ={}, cwd=tmp_path, home=tmp_path / "home")
    app = App(loaded.config, home=tmp_path / "home", cwd=tmp_path)
    args = []
    if any(key.startswith("args: ") for key in options):
        text = next(f"{key}={value}" if value else key for key, value in options.items() if key.startswith("args: "))
        args = text[6:].split()
    out, err = io.BytesIO(), io.BytesIO()
    interp = Interpreter(app, profile=options.get("profile", "safe"), args=args, stdout=out, stderr=err)
    outcome = await interp.run(code, "=case")
    printed = out.getvalue().decode()
    if any(key.startswith("flag --print-result") for key in options) and outcome.values:
        from llmspell.base.jsontext import dumps

        printed += dumps(outcome.values[0]) + "\n"
    await interp.close()
    await app.close()
    return outcome, printed


@pytest.mark.parametrize("case", CASES, ids=lambda case: HEAD.match(case)[1] + "-" + HEAD.match(case)[2].strip())
async def test_case_prints_exactly_what_it_says(case, tmp_path):
    _number, options, code, expected = parts(case)
    outcome, printed = await asyncio.wait_for(run(options, code, tmp_path), 20)
    assert printed.rstrip("\n").split("\n") == expected, outcome.error
    status = outcome.exit_code if outcome.exit_code is not None else 0 if outcome.error is None else 1
    assert status == int(options.get("exit", "0")), outcome.error
