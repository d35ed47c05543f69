"""The tree, its table of keys, masking, and editing of files."""

import re
import tomllib

import jsonschema_rs
import msgspec
import pytest

from llmspell.config import Config, load, model, schema
from llmspell.config.describe import commented, json_schema
from llmspell.config.env import flat_names, name_of
from llmspell.config.overlay import Overlay
from llmspell.config.schema import to_plain, value_at
from llmspell.config.secrets import is_secret_name, mask, mask_url, resolve
from llmspell.config.toml_file import change, line_numbers, to_toml
from llmspell.errors import ConfigurationError


def test_the_tree_has_at_most_25_classes():
    classes = [item for item in vars(model).values() if isinstance(item, type) and issubclass(item, msgspec.Struct)]
    assert len(classes) <= 25


def test_every_key_has_a_sentence_and_a_valid_default():
    for path, key in schema.keys().items():
        assert key.text[0].isupper() or key.text.split()[0].islower(), path
        assert msgspec.convert(key.default, key.type) == key.default or key.default == (), path


def test_plain_data_has_the_form_of_the_file():
    plain = to_plain(Config())
    for path, key in schema.keys().items():
        if "*" not in path:
            default = list(key.default) if isinstance(key.default, tuple) else key.default
            assert value_at(Config(), path, "absent") == default, path
    assert plain["tools"]["network"]["retry"]["max_attempts"] == 3


def test_variable_names_are_unique():
    names = [name_of(path) for path in schema.keys()]  # noqa: SIM118
    assert len(names) == len(set(names))
    assert flat_names()["LLMSPELL_RAG_ENABLED"] == "rag.enabled"


@pytest.mark.parametrize("name", ["api_key", "apiKey", "X-API-Key", "accessToken", "client_secret", "password"])
def test_secret_names_are_known(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["author", "token_count", "max_tokens", "api_key_env", "tokenizer", "authority"])
def test_harmless_names_are_not_secret(name):
    assert not is_secret_name(name)


def test_masks_show_three_and_four_characters_of_long_secrets_only():
    assert mask("sk-abcdefghiwxyz") == "sk-…wxyz"
    assert mask("short") == "…"
    assert mask_url("https://me:hidden@host/x") == "https://me:…@host/x"


def test_references_resolve_from_environment_and_file(tmp_path):
    (tmp_path / "k").write_text("value\n")
    assert resolve("env:K", environ={"K": "v"}) == "v"
    assert resolve("env:K", environ={}) is None
    assert resolve("file:k", base=tmp_path) == "value"
    with pytest.raises(ConfigurationError, match="cannot read the secret file"):
        resolve("file:none", base=tmp_path)


TEXT = """# top
profile = "dev"  # keep me

[agents] # defaults
max_tool_calls = 3 # not a "#" only
[tools]
disabled = [
  "a", # one
  "b",
]
"""


def test_lines_of_keys_are_found():
    assert line_numbers(TEXT) == {
        "profile": 2,
        "agents": 4,
        "agents.max_tool_calls": 5,
        "tools": 6,
        "tools.disabled": 7,
    }


def test_changing_a_key_keeps_every_comment():
    changed = change(TEXT, ("agents", "max_tool_calls"), 9, name="x")
    assert changed == TEXT.replace("= 3 #", "= 9 #")
    assert 'profile = "prod"  # keep me' in change(TEXT, ("profile",), "prod", name="x")
    assert tomllib.loads(change(TEXT, ("tools", "disabled"), ["z"], name="x"))["tools"] == {"disabled": ["z"]}


def test_new_keys_go_into_their_table_or_a_new_one():
    changed = change(TEXT, ("agents", "max_tokens"), 5, name="x")
    assert changed.index("max_tokens") < changed.index("[tools]")
    assert tomllib.loads(change(TEXT, ("providers", "a b", "api_key"), "k", name="x"))["providers"] == {
        "a b": {"api_key": "k"}
    }
    assert tomllib.loads(change("", ("profile",), "dev", name="x")) == {"profile": "dev"}


def test_removing_a_key_removes_only_that():
    assert "max_tool_calls" not in change(TEXT, ("agents", "max_tool_calls"), None, name="x")


def test_a_key_inside_an_inline_table_is_not_guessed_at():
    with pytest.raises(ConfigurationError, match="by hand"):
        change('headers = {a = "b"}\n', ("headers", "a"), "c", name="x")


def test_toml_text_reads_back_as_the_value():
    value = {"a b": [1, 2.5, True, 'q"\\\n\x7f'], "c": {"d": []}}
    assert tomllib.loads(f"v = {to_toml(value)}")["v"] == value


def test_an_overlay_changes_its_own_tree_only():
    base = Config()
    overlay = Overlay(base)
    overlay.apply(overlay.check("rag.retrieval.top_k", 3))
    overlay.apply(overlay.check("providers.mine", {"model": "m"}))
    assert overlay.current.rag.retrieval.top_k == 3
    assert overlay.current.providers.defined["mine"].default_model == "m"
    assert base == Config()
    assert overlay.origin("rag.retrieval.top_k") == "script"


def test_an_overlay_takes_nothing_when_values_contradict():
    overlay = Overlay(Config())
    with pytest.raises(ConfigurationError):
        overlay.apply(overlay.check("rag.chunking", {"overlap": 600, "min_chunk_size": 1}))
    assert overlay.current == Config()


def test_the_commented_file_is_valid_as_it_is_and_with_every_comment_removed(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(commented())
    options = {"environ": {"HOME": str(tmp_path)}, "cwd": tmp_path, "home": None, "explicit": path}
    assert load(**options).origin == {}
    lines = [re.sub(r"^# (\[.*\]|[a-z_0-9]+ = .*)$", r"\1", line) for line in commented().splitlines()]
    path.write_text("\n".join(line for line in lines if not line.endswith('= ""')))
    loaded = load(**options)
    assert loaded.warnings == ()
    assert set(loaded.origin) > {"tools.network.retry.max_attempts", "rag.chunking.overlap", "debug.output.file.append"}


def test_the_json_schema_accepts_the_defaults_and_refuses_unknown_keys():
    validator = jsonschema_rs.validator_for(json_schema())
    plain = to_plain(Config(providers=model.Providers(defined={"a": model.Provider()})))
    assert [error.message for error in validator.iter_errors(plain)] == []
    assert not validator.is_valid({"rag": {"enabeld": True}})
    assert not validator.is_valid({"providers": {"a": {"max_retries": -1}}})
