from __future__ import annotations

import pytest

from llmspell.base.effects import Direct
from llmspell.config import Config
from llmspell.errors import PathDenied, ValidationError
from llmspell.security import Security
from llmspell.tools import Tools


@pytest.fixture
def search(tmp_path):
    config = Config()
    security = Security(config, home=tmp_path / "home", cwd=tmp_path, environ={"TMPDIR": str(tmp_path)})
    tools = Tools(config.tools, security=security, http=None, state=None, effects=Direct(), cwd=tmp_path)
    files = {
        "a.py": "import os\n# TODO one\nx = 1\n# todo two TODO three\n",
        "b.md": "nothing here\n",
        "sub/c.py": "TODO deep\n",
        "sub/.gitignore": "*.log\n!keep.log\n/build/\n",
        "sub/x.log": "TODO ignored\n",
        "sub/keep.log": "TODO kept\n",
        "sub/build/o.py": "TODO built\n",
        "node_modules/m.py": "TODO module\n",
        ".env": "TODO secret\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "blob.txt").write_bytes(b"TODO\0\1\2")

    async def run(pattern, path=".", **params):
        return await tools.call("file-search", {"pattern": pattern, "path": path, **params})

    run.tools = tools
    return run


def names(envelope, root):
    return [match["file_path"].removeprefix(str(root) + "/") for match in envelope["result"]["matches"]]


async def test_matches_tell_where_they_are(search, tmp_path):
    envelope = await search("TODO", context_lines=1)
    assert envelope["operation"] == "search"
    first = envelope["result"]["matches"][0]
    assert (first["line_number"], first["column_number"], first["matched_text"]) == (2, 3, "TODO")
    assert (first["context_before"], first["context_after"]) == (["import os"], ["x = 1"])
    assert names(envelope, tmp_path) == ["a.py", "a.py"]
    assert envelope["result"]["summary"] == {
        "total_matches": 2,
        "files_searched": 2,
        "files_skipped": 1,
        "has_matches": True,
        "truncated": False,
    }
    assert envelope["result"]["skipped_files"][0]["reason"] == "binary"


async def test_folders_below_are_searched_when_asked(search, tmp_path):
    assert names(await search("TODO", recursive=True), tmp_path) == [
        "a.py", "a.py", "sub/c.py", "sub/keep.log", "sub/x.log", "sub/build/o.py",
    ]  # fmt: skip
    ignored = names(await search("TODO", recursive=True, respect_gitignore=True), tmp_path)
    assert ignored == ["a.py", "a.py", "sub/c.py", "sub/keep.log"]
    assert names(await search("TODO", recursive=True, include_extensions="log"), tmp_path) == [
        "sub/keep.log",
        "sub/x.log",
    ]


async def test_case_limits_and_names(search, tmp_path):
    assert len(names(await search("todo", case_sensitive=False), tmp_path)) == 3
    envelope = await search("TODO", recursive=True, max_results=2)
    assert envelope["result"]["summary"]["truncated"]
    assert len(names(await search("TODO", max_matches_per_file=1), tmp_path)) == 1
    assert names(await search(r"^c\.", mode="name", use_regex=True, recursive=True), tmp_path) == ["sub/c.py"]
    assert names(await search("TODO", path="sub/x.log"), tmp_path) == ["sub/x.log"]


async def test_a_regular_expression_that_explodes_is_stopped(search, tmp_path):
    (tmp_path / "evil.txt").write_text("a" * 40 + "b\n")
    envelope = await search(r"(a|aa)+$", use_regex=True)
    assert envelope["error"]["code"] == "regex_timeout"


async def test_a_bad_expression_and_a_path_outside_are_refused(search):
    with pytest.raises(ValidationError):
        await search("(", use_regex=True)
    with pytest.raises(PathDenied):
        await search("root", path="/etc")


async def test_links_are_not_searched(search, tmp_path):
    (tmp_path / "link.txt").symlink_to("a.py")
    assert names(await search("TODO"), tmp_path) == ["a.py", "a.py"]
