"""The file of the script log."""

import pytest

from llmspell.app import App, Lane
from llmspell.config import load
from llmspell.errors import ConfigurationError
from llmspell.metrics.linefile import LineFile


def test_a_full_file_is_put_aside_and_only_so_many_are_kept(tmp_path):
    path = tmp_path / "log"
    file = LineFile(str(path), append=True, max_size=10, max_files=3, key="k")
    for number in range(6):
        file.write(f"line {number}")
    file.close()
    assert path.read_text() == "line 5\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    assert (tmp_path / "log.2").read_text() == "line 3\n"


def test_old_content_stays_only_when_wanted(tmp_path):
    path = tmp_path / "log"
    for append, found in ((True, "old\nnew\n"), (False, "new\n")):
        path.write_text("old\n")
        file = LineFile(str(path), append=append, max_size=1000, max_files=2, key="k")
        file.write("new")
        file.close()
        assert path.read_text() == found


def test_a_file_that_cannot_be_written_names_its_key(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot write some\.key"):
        LineFile(str(tmp_path / "absent" / "log"), append=True, max_size=1, max_files=1, key="some.key")


async def test_entries_of_scripts_go_where_the_configuration_says(tmp_path):
    sets = [
        "debug.output.stdout=true", "debug.output.stderr=false", "debug.output.format=json",
        f"debug.output.file.path={tmp_path / 'log'}",
    ]  # fmt: skip
    config = load(environ={}, cwd=tmp_path, home=tmp_path, sets=sets).config
    written = []
    used = {"memory_bytes": {"limit": 0, "used": 0}}
    lane = Lane(
        App(config, home=tmp_path, cwd=tmp_path), profile="standard", limits={}, script="s.lua",
        write=lambda name, data: written.append((name, data)), used=lambda: used, end=lambda code: None,
    )  # fmt: skip
    lane.debug.log("warn", "look", "m")
    await lane.close()
    line = (tmp_path / "log").read_text()
    assert written == [("stdout", line.encode())]
    assert '"message": "look"' in line
