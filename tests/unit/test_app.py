"""The App before its configuration is built."""

from llmspell.app import App
from llmspell.config import Config


def test_what_start_up_assumes_of_the_defaults_is_what_the_tree_says(tmp_path):
    built, unbuilt = App(Config(), home=tmp_path), App(Config, home=tmp_path)
    limits, roots, caps = unbuilt.lua_settings()
    stated, stated_roots, stated_caps = built.lua_settings()
    assert "config" not in unbuilt.__dict__
    assert {name: limits.get(name) for name in stated} == dict(stated)
    assert (tuple(roots), list(caps)) == (tuple(stated_roots), list(stated_caps))


def test_the_tree_is_built_when_a_service_asks_for_it(tmp_path):
    app = App(Config, home=tmp_path)
    assert app.config == Config()
    assert app.config is app.config
