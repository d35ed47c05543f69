"""File tools through the whole road of a call, in a folder of their own."""

from __future__ import annotations

import base64
import os

import pytest

from llmspell.base.context import Context
from llmspell.base.effects import Direct
from llmspell.config import Config
from llmspell.errors import PathDenied, SecurityError, ValidationError
from llmspell.security import Security
from llmspell.tools import Tools


@pytest.fixture
def world(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "secret.txt").write_text("SECRET")
    return tmp_path


@pytest.fixture
def call(world, monkeypatch):
    config = Config()
    work = world / "work"
    security = Security(config, home=world / "home", cwd=work, environ={"TMPDIR": str(work)})
    tools = Tools(config.tools, security=security, http=None, state=None, effects=Direct(), cwd=work)

    async def run(operation, level="restricted", **params):
        return await tools.call("file-operations", {"operation": operation, **params}, context=Context(level=level))

    run.tools = tools
    return run


async def test_what_is_written_is_read_back(call, world):
    envelope = await call("write", path="a/b.txt", input="héllo")
    assert envelope["success"], envelope
    assert envelope["result"] == {
        "path": str(world / "work/a/b.txt"),
        "bytes_written": 6,
        "created": True,
        "size": 6,
    }
    assert envelope["text"] == f"Wrote 6 bytes to {world / 'work/a/b.txt'}"
    assert envelope["metadata"]["file_size"] == 6
    envelope = await call("read", path="a/b.txt")
    assert envelope["text"] == "héllo"
    assert envelope["result"]["content"] == envelope["result"]["input"] == "héllo"
    assert not (await call("write", path="a/b.txt", input="x"))["result"]["created"]
    assert os.listdir(world / "work/a") == ["b.txt"]


async def test_a_part_of_a_file_never_holds_half_a_character(call, world):
    (world / "work/u.txt").write_text("aéb")
    assert (await call("read", path="u.txt", limit=2))["text"] == "a"
    assert (await call("read", path="u.txt", offset=2))["text"] == "b"


async def test_binary_content_goes_through_base64(call, world):
    data = bytes(range(256))
    await call("write", path="x.bin", input=base64.b64encode(data).decode(), binary=True)
    assert (world / "work/x.bin").read_bytes() == data
    assert base64.b64decode((await call("read", path="x.bin", binary=True))["result"]["content"]) == data
    assert (await call("read", path="x.bin"))["error"]["code"] == "decode_error"
    with pytest.raises(ValidationError):
        await call("write", path="x.bin", input="not base64!", binary=True)


@pytest.mark.parametrize("encoding", ["zip", "rot13", "base64", "no-such", "hex"])
async def test_only_character_sets_are_encodings(call, world, encoding):
    (world / "work/a.txt").write_text("a")
    with pytest.raises(ValidationError):
        await call("read", path="a.txt", encoding=encoding)


async def test_existing_files_are_kept_when_asked(call, world):
    (world / "work/a.txt").write_text("old")
    envelope = await call("write", path="a.txt", input="new", overwrite=False)
    assert envelope["error"]["code"] == "already_exists"
    assert (world / "work/a.txt").read_text() == "old"
    (world / "work/b.txt").write_text("b")
    for operation in ("copy", "move"):
        envelope = await call(operation, path="b.txt", target_path="a.txt")
        assert envelope["error"]["code"] == "already_exists"
        assert (world / "work/a.txt").read_text() == "old"
    assert (await call("move", path="b.txt", target_path="a.txt", overwrite=True))["success"]
    assert (world / "work/a.txt").read_text() == "b"


async def test_the_mode_of_a_new_file_can_be_given(call, world):
    assert (await call("write", path="m.sh", input="", mode="750"))["success"]
    assert (world / "work/m.sh").stat().st_mode & 0o7777 == 0o750
    with pytest.raises(ValidationError):
        await call("write", path="m.sh", input="", mode="4755")


async def test_deleting_a_folder_needs_recursive_and_its_level(call, world):
    (world / "work/d/e").mkdir(parents=True)
    (world / "work/d/e/f.txt").write_text("")
    assert (await call("delete", path="d"))["error"]["code"] == "is_directory"
    with pytest.raises(SecurityError):
        await call("delete", path="d", recursive=True)
    envelope = await call("delete", path="d", recursive=True, level="privileged")
    assert envelope["result"]["entries"] == 3
    assert envelope["text"].startswith("Deleted directory ")
    assert (await call("delete", path="d"))["error"]["code"] == "not_found"
    assert (await call("delete", path="d", missing_ok=True))["result"]["deleted"] is False


async def test_lists_show_entries_and_hide_what_is_denied(call, world):
    work = world / "work"
    (work / "sub").mkdir()
    for name in ("a.txt", "b.md", ".hidden", ".env", "sub/c.txt"):
        (work / name).write_text("x")
    (work / "link").symlink_to("a.txt")
    envelope = await call("list_dir", path=".")
    kinds = {item["name"]: item["type"] for item in envelope["result"]["entries"]}
    assert kinds == {".hidden": "file", "a.txt": "file", "b.md": "file", "link": "symlink", "sub": "directory"}
    assert (await call("ls", path=".", pattern="*.md"))["text"] == "b.md"
    assert ".hidden" not in (await call("ls", path=".", hidden=False))["text"]
    assert "sub/c.txt" in (await call("ls", path=".", recursive=True))["text"]
    cut = await call("ls", path=".", limit=2)
    assert cut["result"]["truncated"]
    assert cut["result"]["count"] == 2
    assert (await call("ls", path="absent"))["error"]["code"] == "not_found"
    assert not (await call("ls", path="absent", recursive=True))["success"]


async def test_trees_are_copied_without_their_links(call, world):
    work = world / "work"
    (work / "d/e").mkdir(parents=True)
    (work / "d/e/f.txt").write_text("123")
    (work / "d/out").symlink_to(world / "secret.txt")
    assert (await call("copy", path="d", target_path="n"))["error"]["code"] == "is_directory"
    envelope = await call("copy", path="d", target_path="n", recursive=True)
    assert envelope["result"]["size"] == 3
    assert (work / "n/e/f.txt").read_text() == "123"
    assert not (work / "n/out").exists()
    assert (await call("copy", path="d", target_path="d/x", recursive=True))["error"]["code"] == "same_place"


async def test_metadata_tells_of_links_themselves(call, world):
    (world / "work/a.txt").write_text("abc")
    (world / "work/l").symlink_to("a.txt")
    record = (await call("metadata", path="l"))["result"]
    assert record["type"] == "symlink"
    assert record["symlink_target"] == "a.txt"
    record = (await call("stat", path="a.txt"))["result"]
    assert (record["type"], record["size"], record["readonly"]) == ("file", 3, False)
    assert (await call("exists", path="a.txt"))["text"].endswith("a.txt exists")
    assert (await call("exists", path="a.txt/b"))["result"]["exists"] is False


async def test_append_and_touch_make_files(call, world):
    assert (await call("append", path="log.txt", input="one"))["result"]["size"] == 3
    assert (await call("append", path="log.txt", input="two"))["result"]["size"] == 6
    assert (await call("append", path="no.txt", input="x", create=False))["error"]["code"] == "not_found"
    assert (await call("touch", path="t"))["success"]
    assert (world / "work/t").exists()


async def test_files_over_the_limit_are_refused(call, world):
    with (world / "work/big").open("wb") as file:
        file.truncate(53_000_000)
    envelope = await call("read", path="big")
    assert envelope["error"]["code"] == "too_large"
    assert (await call("read", path="big", limit=4, binary=True))["success"]


OUTSIDE = ("../secret.txt", "/etc/passwd", "out", "a\0b", ".env")


@pytest.mark.parametrize(
    "params",
    [
        {"operation": "read"},
        {"operation": "write", "input": "x"},
        {"operation": "append", "input": "x"},
        {"operation": "delete"},
        {"operation": "create_dir"},
        {"operation": "list_dir"},
        {"operation": "copy", "target_path": "stolen"},
        {"operation": "move", "target_path": "stolen"},
        {"operation": "metadata"},
        {"operation": "exists"},
        {"operation": "touch"},
    ],
    ids=lambda params: params["operation"],
)
async def test_every_operation_stays_inside(call, world, params):
    (world / "work/out").symlink_to(world / "secret.txt")
    for path in OUTSIDE:
        with pytest.raises(PathDenied):
            await call(params["operation"], path=path, **{k: v for k, v in params.items() if k != "operation"})
    for target in OUTSIDE:
        if "target_path" in params:
            (world / "work/mine").write_text("mine")
            with pytest.raises(PathDenied):
                await call(params["operation"], path="mine", target_path=target)
    assert (world / "secret.txt").read_text() == "SECRET"
    assert not (world / "work/stolen").exists()


async def test_every_self_test_of_the_tool_passes(call, world):
    cases = call.tools.cases("file-operations")
    assert len(cases) >= 12
    for number, case in enumerate(cases):
        for name, content in case.files.items():
            target = world / "work" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        envelope = await call.tools.call("file-operations", case.params)
        assert_contains(envelope, case.expect, f"{number} {case.name}")
        for name in os.listdir(world / "work"):
            call.tools._services.get("security").remove(name, recursive=True)


def assert_contains(value, expected, where):
    if isinstance(expected, dict):
        for key, item in expected.items():
            assert_contains(value[key], item, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(value) == len(expected), where
        for index, item in enumerate(expected):
            assert_contains(value[index], item, f"{where}[{index}]")
    else:
        assert value == expected, where
