"""Completion, history and Enter of the REPL."""

import sqlite3

import pytest

from llmspell.app import App
from llmspell.cli.output import Output
from llmspell.cli.repl_commands import command
from llmspell.cli.repl_complete import LuaCompleter
from llmspell.cli.repl_edit import colour, ready
from llmspell.cli.repl_history import SqliteHistory
from llmspell.cli.repl_session import Repl
from llmspell.config import Config


@pytest.fixture
def repl(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Repl(App(Config(), home=tmp_path / "home", cwd=tmp_path), "standard", Output(), command)


def words(repl, text):
    return [word for _, word in LuaCompleter(repl).candidates(text)]


def test_names_fields_methods_and_keywords_complete(repl):
    assert "string" in words(repl, "print(str")
    assert "format" in words(repl, "x = string.for")
    assert "while" in words(repl, "whi")
    assert words(repl, "string.nosuch") == []


def test_methods_behind_a_colon_are_functions_only(repl):
    repl.interp.begin(b"t = {name = 1, go = print}")
    assert words(repl, "t:") == ["go"]
    assert words(repl, "t.") == ["go", "name"]


def test_strings_complete_names_of_tools_and_files(repl, tmp_path):
    assert "calculator" in words(repl, 'Tool.invoke("calc')
    assert "echo" in words(repl, 'Provider.get("ec')
    (tmp_path / "data.txt").write_text("")
    assert words(repl, 'dofile("da') == ["data.txt"]


def test_dot_commands_complete(repl):
    assert words(repl, ".hi") == [".history"]
    assert "calculator" in words(repl, ".tool calc")


def test_enter_runs_what_is_complete_and_continues_what_is_not(repl):
    assert ready(repl, "1 + 1") == (True, "")
    assert ready(repl, "for i = 1, 2 do")[0] is False
    assert ready(repl, "x = = 1")[0] is False
    assert ready(repl, "x = = 1\n")[0] is True
    assert ready(repl, ".help") == (True, "")


def test_history_keeps_what_may_be_kept(tmp_path):
    history = SqliteHistory(tmp_path / "state" / "h.sqlite", limit=3)
    for text in ("one", "one", " hidden", "k = 'sk-abcdefghijklmnopqrstuvwx'", "two", "three"):
        history.store_string(text)
    entries = history.entries()
    assert len(entries) == 3
    assert entries[1:] == ["two", "three"]
    assert "abcdefgh" not in entries[0]
    assert next(iter(history.load_history_strings())) == "three"
    history.clear()
    history.close()
    with sqlite3.connect(tmp_path / "state" / "h.sqlite") as db:
        assert db.execute("SELECT count(*) FROM input").fetchone() == (0,)
    db.close()
    assert (tmp_path / "state" / "h.sqlite").stat().st_mode & 0o777 == 0o600


def test_colours_keep_the_text():
    line = 'local x = "a" .. 5 -- note'
    assert "".join(text for _, text in colour(line)) == line
