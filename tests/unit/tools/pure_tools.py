"""Runs bundled tools through the one door, in a fresh folder; shared by the tests of single tools."""

from llmspell.base.effects import Direct
from llmspell.config.model import Config
from llmspell.security import Security
from llmspell.tools import Tools


def make(folder):
    """Return the tools of a program whose working directory is `folder`."""
    config = Config()
    security = Security(config, home=folder, cwd=folder, environ={})
    return Tools(config.tools, security=security, http=None, state=None, effects=Direct(), cwd=folder)


def contains(found, expected):
    """Return whether `found` holds what is expected: maps by key, lists by item."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(key in found and contains(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(contains, found, expected))
    return found == expected and isinstance(found, bool) == isinstance(expected, bool)


async def run_cases(folder, name):
    """Run the self-tests of a tool; return those that failed, with their envelopes."""
    tools = make(folder)
    failed = []
    for case in tools.cases(name):
        for file, content in case.files.items():
            (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        envelope = await tools.call(name, case.params)
        if not contains(envelope, case.expect):
            failed.append((case.name, envelope))
    return failed
