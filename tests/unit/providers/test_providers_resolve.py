import pytest

from llmspell.base.effects import Direct
from llmspell.config.model import Provider as Settings
from llmspell.config.model import Providers as Section
from llmspell.errors import ConfigurationError
from llmspell.providers import CallOptions, Providers


def made(environ=None, **section):
    return Providers(Section(**section), effects=Direct(), environ=environ)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("rig/openai/gpt-4o", ("openai", "gpt-4o")),
        ("claude/claude-3-haiku", ("anthropic", "claude-3-haiku")),
        ("openrouter/anthropic/claude-x", ("openrouter", "anthropic/claude-x")),
        ("local/llama3:8b", ("ollama", "llama3:8b")),
        ("local/llama3:8b@vllm", ("vllm", "llama3:8b")),
        ("llama-cpp/x", ("llamacpp", "x")),
        ("gpt-4o", ("openai", "gpt-4o")),
        ("claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("deepseek-chat", ("deepseek", "deepseek-chat")),
        ("echo", ("echo", "echo")),
        ("echo/any/thing", ("echo", "any/thing")),
        ("openai/", ("openai", "gpt-4o-mini")),
    ],
)
def test_a_specification_names_provider_and_model(spec, expected):
    assert made().resolve(spec) == expected


def test_an_explicit_provider_wins_over_the_prefix_of_the_model():
    assert made().resolve("groq/gpt-4o", "openai") == ("openai", "gpt-4o")
    assert made().resolve("anthropic/claude-x", "openrouter") == ("openrouter", "anthropic/claude-x")
    assert made().resolve(None, "anthropic")[0] == "anthropic"


def test_the_default_provider_comes_before_the_prefix_table():
    assert made(default_provider="groq").resolve("gpt-4o") == ("groq", "gpt-4o")


def test_the_default_model_answers_for_no_model():
    assert made(default_model="echo/upper").resolve(None) == ("echo", "upper")


def test_a_key_in_the_environment_makes_its_provider_available_and_default():
    providers = made({"GROQ_API_KEY": "gsk_x"})
    assert [entry.name for entry in providers.list()] == ["groq"]
    assert providers.default().name == "groq"
    assert providers.resolve("some-model") == ("groq", "some-model")


def test_two_keys_leave_no_default():
    assert made({"GROQ_API_KEY": "a", "MISTRAL_API_KEY": "b"}).default() is None


def test_a_base_url_in_the_environment_alone_configures_nothing():
    assert made({"OPENAI_BASE_URL": "http://127.0.0.1:1"}).list() == []


def test_an_unknown_provider_is_named_with_the_nearest_ones():
    with pytest.raises(ConfigurationError, match="did you mean 'openai'"):
        made().resolve("opnai/gpt-4o")


def test_a_model_without_any_provider_lists_what_is_available():
    with pytest.raises(ConfigurationError, match="available: echo"):
        made().resolve("strange-model")


def test_no_model_at_all_says_that_a_model_is_required():
    with pytest.raises(ConfigurationError, match="Model is required"):
        made().resolve(None)


def test_listing_without_keys_shows_nothing_and_the_builtin_ones_on_request():
    providers = made()
    assert providers.list() == []
    assert [entry.name for entry in providers.list(builtin=True)] == ["echo", "scripted"]
    assert len(providers.list(every=True)) == 16
    assert providers.available("echo")
    assert not providers.available("openai")
    assert providers.get("nope") is None


def test_a_missing_key_names_the_variables():
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY or LLMSPELL_OPENAI_API_KEY") as caught:
        made().prepare("openai/gpt-4o")
    assert caught.value.code == "missing_key"


def test_keys_are_found_in_the_stated_order(tmp_path):
    def source(table, environ):
        return made(environ, defined={"openai": Settings(**table)}).get("openai").key

    everywhere = {"LLMSPELL_OPENAI_API_KEY": "b", "OPENAI_API_KEY": "c", "MINE": "d"}
    file = tmp_path / "key"
    file.write_text("from-file\n")
    assert source({"api_key": "literal", "api_key_env": "MINE"}, everywhere) == "config"
    assert source({"api_key": "env:MINE"}, everywhere) == "env:MINE"
    assert source({"api_key": f"file:{file}"}, everywhere) == f"file:{file}"
    assert source({"api_key_env": "MINE"}, everywhere) == "env:MINE"
    assert source({}, everywhere) == "env:LLMSPELL_OPENAI_API_KEY"
    assert source({}, {"OPENAI_API_KEY": "c"}) == "env:OPENAI_API_KEY"


def test_a_key_never_shows_in_a_listing_or_a_repr():
    providers = made(defined={"openai": Settings(api_key="sk-very-secret-key")})
    providers.prepare("openai/gpt-4o")
    shown = repr(providers.list()) + repr(CallOptions(api_key="sk-very-secret-key"))
    built = next(iter(providers._built.values()))
    assert "very-secret" not in shown + repr(built.endpoint)


def test_an_untrusted_address_never_receives_a_configured_key():
    providers = made({"OPENAI_API_KEY": "sk-env-key-value"}, defined={"openai": Settings(headers={"x-team": "t"})})
    options = CallOptions(base_url="https://evil.example/v1", untrusted=True)
    with pytest.raises(ConfigurationError) as caught:
        providers.prepare("openai/gpt-4o", options=options)
    assert caught.value.code == "missing_key"
    with_key = CallOptions(base_url="https://evil.example/v1", api_key="own", untrusted=True)
    providers.prepare("openai/gpt-4o", options=with_key)
    headers = next(iter(providers._built.values())).endpoint.headers
    assert headers["authorization"] == "Bearer own"
    assert "x-team" not in headers


def test_a_key_given_by_a_script_is_never_looked_up():
    providers = made({"SECRET": "value-of-secret"})
    providers.prepare("openai/gpt-4o", options=CallOptions(api_key="env:SECRET"))
    assert next(iter(providers._built.values())).endpoint.headers["authorization"] == "Bearer env:SECRET"


def test_a_disabled_provider_is_not_available():
    providers = made(defined={"openai": Settings(api_key="k", enabled=False)})
    assert not providers.available("openai")
    with pytest.raises(ConfigurationError, match="disabled"):
        providers.prepare("openai/gpt-4o")


def test_own_names_follow_the_profile_of_their_type():
    providers = made(defined={"mine": Settings(provider_type="openai-compatible", base_url="http://127.0.0.1:9/v1")})
    assert providers.prepare("mine/a/b") == ("mine", "a/b")
    assert providers.get("mine").type == "openai-compatible"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("https://box.example/", "https://box.example"),
        ("[::1]:1234", "http://[::1]:1234"),
    ],
)
def test_ollama_host_is_understood_in_all_usual_forms(host, url):
    assert made({"OLLAMA_HOST": host}).get("ollama").base_url == url


def test_prices_come_from_the_configuration_then_from_the_table_else_there_are_none():
    own = made(defined={"openai": Settings(prices={"gpt-4o*": {"input": 1, "output": 2, "per": 1000}})})
    assert own.price("openai", "gpt-4o-mini").per == 1000
    assert made().price("openai", "gpt-4o-mini").input == 0.15
    assert made().price("openai", "gpt-4o").input == 2.5
    assert made().price("openai", "unheard-of") is None
    assert made().price("ollama", "anything").input == 0


def test_a_bad_price_is_a_configuration_error_that_names_its_key():
    with pytest.raises(ConfigurationError, match=r"providers.openai.prices.x"):
        made(defined={"openai": Settings(prices={"x": {"inputs": 1}})}).price("openai", "x")


async def test_a_service_that_only_embeds_may_be_configured_and_says_what_it_cannot_do():
    providers = Providers(Section(defined={"cohere": Settings(api_key="k" * 20)}), effects=Direct())
    assert [entry.name for entry in providers.list()] == ["cohere"]
    with pytest.raises(ConfigurationError, match="only embeds"):
        providers.prepare("cohere/command-r")
    await providers.close()
