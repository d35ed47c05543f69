"""Display: text forms on standard output, progress on standard error."""

from types import SimpleNamespace

import pytest
from companion_runtime import run

from llmspell.base.textforms import strip_tags, table
from llmspell.errors import LLMSpellError, ValidationError
from llmspell.lua.globals.display import DisplayMethods, Global, ProgressMethods


class Lane:
    def __init__(self, profile="standard"):
        self.profile = profile
        self.out = {"stdout": b"", "stderr": b""}

    def write(self, stream, data):
        self.out[stream] += data


def make(profile="standard"):
    lane = Lane(profile)
    app = SimpleNamespace(
        security=SimpleNamespace(script=SimpleNamespace(read=lambda path, limit: b"\x89PNG\r\n\x1a\n" + b"x" * 10))
    )
    return Global(app, lane), lane, app


def test_a_table_is_padded_without_trailing_blanks():
    display, lane, _ = make()
    display.table([{"name": "a", "n": 10}, {"name": "bb", "n": 2}], {"columns": ["name", "n"]})
    assert lane.out["stdout"] == b"name  n\n----  --\na     10\nbb    2\n"


def test_columns_default_to_the_sorted_keys_and_rows_are_cut():
    assert table([{"b": 1.0, "a": None}, {"b": True, "a": "x\ny"}]) == "a    b\n---  ----\n     1.0\nx y  true"
    assert table([[1, 2], [3]]) == "1  2\n-  -\n1  2\n3"
    assert table([{"n": n} for n in range(5)], {"max_rows": 2}).endswith("... 3 more rows")
    with pytest.raises(ValidationError):
        table([], {"max_rows": 0})


def test_every_kind_has_one_text_form():
    display, lane, _ = make()
    for call, text in (
        (lambda: display.json({"b": 1, "a": {}}), '{\n  "a": {},\n  "b": 1\n}\n'),
        (lambda: display.html("<p>a &amp; b</p><script>x</script>"), "a & b\n"),
        (lambda: display.markdown("# t"), "# t\n"),
        (lambda: display.svg("<svg/>"), "<image/svg+xml 6 bytes>\n"),
        (lambda: display.png(b"\x89PNG\r\n\x1a\n12"), "<image/png 10 bytes>\n"),
        (lambda: display.png("chart.png"), "<image/png 18 bytes>\n"),
        (lambda: display.plot({"x": [1, 2], "y": [3, 4]}), "<plot line 2 points>\n"),
        (lambda: display.plot({"mark": {"type": "bar"}, "data": {"values": [1]}}), "<plot bar 1 points>\n"),
        (lambda: display.object({"text/plain": "t", "text/html": "h"}), "t\n"),
        (lambda: display.object({"a/b": "xyz"}), "<a/b 3 bytes>\n"),
    ):
        lane.out["stdout"] = b""
        call()
        assert lane.out["stdout"].decode() == text


def test_an_update_writes_the_new_text_form():
    display, lane, app = make()
    handle = display.text("working", {"display_id": "d1"})
    methods = DisplayMethods(app, lane)
    methods.update(handle.ident, "done")
    assert handle.fields["id"] == "d1"
    assert lane.out["stdout"] == b"working\ndone\n"
    methods.clear("d1")
    with pytest.raises(LLMSpellError):
        methods.update("d1", "x")


def test_progress_goes_to_standard_error_and_not_once_per_step():
    display, lane, app = make()
    bar = display.progress(1000, {"label": "load"})
    methods = ProgressMethods(app, lane)
    for _ in range(1000):
        methods.advance(bar.ident)
    assert lane.out["stdout"] == b""
    lines = lane.out["stderr"].decode().splitlines()
    assert len(lines) <= 101
    assert lines[-1] == "load 100% 1000/1000" or lines[-1].startswith("load 100%")
    methods.close(bar.ident)
    methods.advance(bar.ident)


@pytest.mark.parametrize(
    "call", ["png(b'GIF8')", "svg('x')", "plot({'x': [1], 'y': []})", "progress(-1)", "object([1])"]
)
def test_what_cannot_be_shown_is_refused(call):
    display, _, _ = make()
    with pytest.raises(ValidationError):
        eval(f"display.{call}", {"display": display})


def test_the_safe_profile_reads_no_image_file():
    display, _, _ = make("safe")
    with pytest.raises(PermissionError):
        display.png("chart.png")


def test_tags_are_stripped_in_linear_time():
    assert strip_tags("a<b>c</b>d<!-- x --> 1 < 2 <style>p{}</style>&lt;") == "acd 1 < 2 <"
    assert strip_tags("<" * 200_000) == "<" * 200_000
    assert strip_tags("<a" * 200_000) == ""


def test_display_shows_scalars_metafields_and_dumps():
    setup = """
    local shown = {}
    api.object = function(bundle) shown[#shown + 1] = bundle["text/plain"] or "none"; return "h" end
    lib.handle_methods("display").update = function(self, x) shown[#shown + 1] = x["text/plain"] or "raw" end
    lib.handle_methods("display").clear = function() end
    lib.globals.Debug = {dump = function() return "dumped" end}
    """
    script = """
    api.display("working"); handles.display.update("h", "done"); api.display(1.5); api.display({1})
    api.display(setmetatable({}, {__display = function() return {["text/plain"] = "mine"} end}))
    api.display(setmetatable({}, {__tostring = function() return "text of it" end}))
    return table.concat(shown, "|")
    """
    assert run("display", script, setup) == "working|done|1.5|dumped|mine|text of it"


def test_wrap_visits_each_item_and_advances():
    setup = """
    local n = 0
    local p = lib.handle_methods("progress")
    p.advance = function(_, k) n = n + k end
    p.close = function() n = n + 100 end
    lib.handle_methods("display")
    """
    script = """
    local out = ""
    for item in handles.progress.wrap("h", {"a", "b"}) do out = out .. item end
    return out, n
    """
    assert run("display", script, setup) == ("ab", 102)
