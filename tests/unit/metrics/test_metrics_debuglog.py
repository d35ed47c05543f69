"""The log of scripts: levels, filters, masking, the ring, timers, and the form of lines."""

import io
import json
import logging
import time

import pytest

from llmspell.errors import InvalidArgument
from llmspell.metrics import DebugLog, Timers
from llmspell.metrics.filters import Filters
from llmspell.metrics.lines import json_line, text_line
from llmspell.metrics.logs import LineFormatter, install, uninstall


def mask(data):
    return json.loads(json.dumps(data).replace("hunter2", "***"))


@pytest.fixture
def lines():
    return []


@pytest.fixture
def log(lines):
    return DebugLog(sink=lambda rank, line: lines.append((rank, line)), redact=mask, module="main.lua")


def test_entries_below_the_level_are_dropped_and_their_text_is_never_made(log):
    log.log("debug", lambda: pytest.fail("made"))
    log.log("info", lambda: "seen")
    assert [entry.message for entry in log.captured()] == ["seen"]


def test_levels_are_words_in_any_case(log):
    assert log.get_level() == "INFO"
    assert log.set_level("WaRn")
    assert log.set_level("warning")
    assert log.get_level() == "WARN"
    assert not log.set_level("loud")
    assert not log.set_level("fatal")
    assert log.get_level() == "WARN"
    assert not log.allows("info")
    assert log.allows("fatal")
    with pytest.raises(InvalidArgument):
        log.log("loud", "x")
    with pytest.raises(InvalidArgument):
        log.log("off", "x")


def test_off_and_disabled_keep_nothing(log):
    log.set_level("off")
    log.log("error", "x")
    log.set_level("trace")
    log.set_enabled(False)
    log.log("error", "x")
    log.set_enabled(True)
    log.log("trace", "y")
    assert [entry.message for entry in log.captured()] == ["y"]


def test_the_ring_keeps_the_newest_entries(log):
    small = DebugLog(keep=3)
    for n in range(5):
        small.log("info", str(n))
    assert [entry.message for entry in small.captured()] == ["2", "3", "4"]
    assert [entry.message for entry in small.captured(2)] == ["3", "4"]
    assert small.captured(0) == []
    small.clear()
    assert small.captured() == []


def test_a_flood_of_long_entries_keeps_a_bounded_amount_of_text(log):
    quiet = DebugLog()
    for _ in range(400):
        quiet.log("info", "x" * 60_000, None, {"n": ["y" * 1000] * 10})
    kept = quiet.captured()
    assert 100 < len(kept) < 400
    assert sum(len(entry.message) for entry in kept) <= 16 * 1024 * 1024
    timers = quiet.timers
    timer = timers.start("x" * 10_000)
    assert len(timer.name) == 200
    timers.record(timer.ident, "e", ["y" * 20_000])
    assert timers.events()[0]["metadata"] == "(too large to keep)"


def test_secrets_are_masked_in_what_is_kept_and_in_what_is_written(log, lines):
    log.log("warn", "the word hunter2", "app", {"field": "hunter2"})
    entry = log.captured()[0].plain()
    assert (entry["message"], entry["metadata"]) == ("the word ***", {"field": "***"})
    assert "hunter2" not in lines[0][1]


def test_a_line_has_the_form_of_the_product_and_stays_one_line(log, lines):
    log.log("error", "a\nb\x1b[0m", "app", {"n": 1, "text": "x y"})
    rank, line = lines[0]
    assert rank == 1
    stamp, rest = line.split(" ", 1)
    assert len(stamp) == 24
    assert rest == 'ERROR script_runtime log a\\nb\\x1b[0m module=app n=1 text="x y"'


def test_the_module_is_the_script_where_none_is_given(log):
    log.log("info", "x")
    log.log("info", "y", "other")
    assert [entry.module for entry in log.captured()] == ["main.lua", "other"]


@pytest.mark.parametrize(
    ("rules", "module", "allowed"),
    [
        ([], "a", True),
        ([("app", "hierarchical", False)], "app", False),
        ([("app", "hierarchical", False)], "app.db", False),
        ([("app", "hierarchical", False)], "apple", True),
        ([("app", "hierarchical", False), ("app.db", "hierarchical", True)], "app.db.x", True),
        ([("app.db", "hierarchical", True), ("app", "hierarchical", False)], "app.db.x", True),
        ([("a*", "wildcard", False), ("abc", "exact", True)], "abc", True),
        ([("abc", "exact", True), ("abc", "hierarchical", False)], "abc", True),
        ([("abc", "exact", True), ("abc", "exact", False)], "abc", False),
        ([("^a.c$", "regex", False)], "abc", False),
        ([("^a", "regex", False), ("a*", "wildcard", True)], "abc", True),
        ([("?b*d", "wildcard", False)], "abccd", False),
        ([("?b*d", "wildcard", False)], "abcc", True),
    ],
)
def test_the_most_specific_rule_wins_and_of_equals_the_last(rules, module, allowed):
    filters = Filters()
    for rule in rules:
        assert filters.add(*rule)
    assert filters.allows(module) is allowed


def test_the_default_holds_where_no_rule_matches(log):
    log.filters.set_default(False)
    log.filters.add_plain("app.*", True)
    log.log("info", "hidden", "other")
    log.log("info", "shown", "app.x")
    assert [entry.message for entry in log.captured()] == ["shown"]
    assert log.filters.summary() == {
        "default_enabled": False,
        "total_rules": 1,
        "rules": [{"pattern": "app.*", "pattern_type": "wildcard", "enabled": True}],
    }
    assert log.filters.remove("app.*")
    assert not log.filters.remove("app.*")


def test_a_hostile_pattern_costs_no_time():
    filters = Filters()
    assert not filters.add("(", "regex", True)
    assert not filters.add("x", "magic", True)
    assert not filters.add("a" * 501, "exact", True)
    assert filters.add("(a|a)*$|(x+x+)+y", "regex", False)
    assert filters.add("*a" * 200, "wildcard", False)
    started = time.perf_counter()
    filters.allows("a" * 400 + "x" * 50)
    assert time.perf_counter() - started < 1


def test_timers_stop_once_and_keep_their_laps():
    timers = Timers(lambda: 100)
    timer = timers.start("load")
    assert timers.lap(timer.ident, "open")
    assert timers.record(timer.ident, "hit", {"n": 1})
    spent = timers.stop(timer.ident)
    assert spent >= 0
    assert timer.elapsed_ms == spent
    assert timers.stop(timer.ident) is None
    assert not timers.lap(timer.ident, "late")
    assert not timers.record(timer.ident, "late", None)
    assert not timers.record("timer-99", "x", None)
    assert [name for name, _ in timer.laps] == ["open"]
    assert timers.events()[0]["metadata"] == {"n": 1}
    assert timers.statistics()["load"]["count"] == 1
    assert "load" in timers.report()


def test_the_flame_graph_counts_the_time_of_a_timer_once():
    timers = Timers(lambda: 0)
    outer = timers.start("outer")
    for _ in range(2):
        inner = timers.start("inner;x")
        time.sleep(0.002)
        timers.stop(inner.ident)
    timers.stop(outer.ident)
    timers.stop(timers.start("after").ident)
    found = dict(line.rsplit(" ", 1) for line in timers.flame_graph().split("\n"))
    assert set(found) == {"outer", "outer;inner,x", "after"}
    assert int(found["outer;inner,x"]) >= 4000
    assert int(found["outer"]) < int(found["outer;inner,x"])


def test_the_memory_snapshot_measures_around_each_timer():
    used = iter([10, 50, 70, 90])
    timers = Timers(lambda: next(used))
    done = timers.start("done")
    timers.start("open")
    timers.stop(done.ident)
    found = timers.memory_snapshot()
    assert found["active_trackers"] == 1
    assert found["tracker_memory_usage"] == {
        "done": {"start_bytes": 10, "end_bytes": 70, "delta_bytes": 60},
        "open": {"start_bytes": 50, "delta_bytes": 40},
    }
    assert found["total_memory_delta_bytes"] == 100


def test_text_and_json_lines_hold_the_same():
    assert text_line("info", "tool", "invoke", "x\u2028y", {"a b": [1], "s": ""}, epoch=0.5) == (
        '1970-01-01T00:00:00.500Z INFO tool invoke x\\u2028y a b=[1] s=""'
    )
    assert json.loads(json_line("info", "tool", "invoke", "x", {"n": 1}, epoch=0.5, session="s")) == {
        "ts": "1970-01-01T00:00:00.500Z", "level": "info", "category": "tool", "operation": "invoke",
        "message": "x", "session": "s", "fields": {"n": 1},
    }  # fmt: skip


def test_a_log_record_is_masked_and_names_its_place():
    record = logging.LogRecord("llmspell.tools.http", logging.WARNING, "f", 1, "got %s", ("hunter2",), None)
    record.operation, record.url = "invoke", "hunter2"
    line = LineFormatter(mask).format(record)
    assert line.split(" ", 1)[1] == 'WARN tools invoke got *** url="***"'
    assert "hunter2" not in line


def test_the_handler_lets_through_what_the_level_says():
    stream = io.StringIO()
    handler = install("info", stream=stream, as_json=True)
    try:
        logging.getLogger("llmspell.x").info("seen")
        logging.getLogger("llmspell.x").debug("hidden")
        logging.getLogger("other").info("hidden")
        logging.getLogger("other").warning("third party")
    finally:
        uninstall(handler)
        logging.getLogger("llmspell").setLevel(logging.NOTSET)
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["seen", "third party"]
