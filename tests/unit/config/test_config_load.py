"""Layers, spelling, errors and expansion of the configuration."""

import subprocess
import sys
from pathlib import Path

import pytest

from llmspell.config import load, profiles
from llmspell.config.model import Config
from llmspell.config.schema import to_plain
from llmspell.errors import ConfigurationError, SecurityError


@pytest.fixture
def place(tmp_path):
    """Return a function that loads with home, project and user folders under a temporary one."""
    home, project = tmp_path / "home", tmp_path / "user" / "project"
    home.mkdir()
    project.mkdir(parents=True)

    class Place:
        def __init__(self):
            self.home, self.project = home, project

        def write(self, path: Path, text: str) -> Path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return path

        def load(self, environ=None, **options):
            environ = {"HOME": str(tmp_path / "user"), **(environ or {})}
            return load(cwd=self.project, home=home, environ=environ, **options)

    return Place()


def test_nothing_stated_gives_the_defaults(place):
    loaded = place.load()
    assert loaded.config == Config()
    assert loaded.origin == {}


def test_each_layer_beats_the_one_below(place):
    place.write(place.home / "config.toml", "[agents]\nmax_tool_calls = 2\nmax_model_calls = 2\nmax_cost_usd = 2\n")
    place.write(place.project / "llmspell.toml", "[agents]\nmax_tool_calls = 3\nmax_model_calls = 3\n")
    extra = place.write(place.project / "x.toml", "[agents]\nmax_tool_calls = 4\n")
    assert place.load(explicit=extra, profile="research").config.agents.max_tool_calls == 4
    agents = place.load(profile="research").config.agents
    assert (agents.max_tool_calls, agents.max_model_calls, agents.max_cost_usd) == (3, 3, 2)
    assert agents.max_execution_time_secs == 1800
    environ = {"LLMSPELL_AGENTS__MAX_TOOL_CALLS": "5"}
    assert place.load(environ, explicit=extra).config.agents.max_tool_calls == 5
    assert place.load(environ, sets=["agents.max_tool_calls=6"]).config.agents.max_tool_calls == 6


def test_a_later_layer_may_restore_a_default(place):
    place.write(place.home / "config.toml", "[rag.retrieval]\ntop_k = 3\n")
    assert place.load(sets=["rag.retrieval.top_k=10"]).config.rag.retrieval.top_k == 10


def test_tables_merge_and_arrays_are_replaced(place):
    place.write(
        place.home / "config.toml", '[providers.a]\nheaders = {x = "1", y = "1"}\n[tools]\ndisabled = ["a", "b"]\n'
    )
    extra = place.write(place.project / "x.toml", '[providers.a]\nheaders = {y = "2"}\n[tools]\ndisabled = ["c"]\n')
    config = place.load(explicit=extra).config
    assert config.providers.defined["a"].headers == {"x": "1", "y": "2"}
    assert config.tools.disabled == ("c",)


def test_all_mistakes_of_all_layers_come_in_one_error(place):
    place.write(place.home / "config.toml", "[rag.chunking]\nchunk_sise = 3\n")
    place.write(place.project / "llmspell.toml", "[runtime]\nscript_timeout_seconds = 0\n[kernel]\nport = 1\n")
    with pytest.raises(ConfigurationError) as caught:
        place.load({"LLMSPELL_RAG__ENABLED": "perhaps"})
    errors = {item["key"]: item for item in caught.value.details["errors"]}
    assert errors["rag.chunking.chunk_sise"]["suggestion"] == "rag.chunking.chunk_size"
    assert errors["rag.chunking.chunk_sise"]["line"] == 2
    assert errors["runtime.script_timeout_seconds"]["line"] == 2
    assert "no kernel" in errors["kernel"]["message"]
    assert "rag.enabled" in errors


def test_a_secret_never_appears_in_an_error(place):
    with pytest.raises(ConfigurationError) as caught:
        place.load(explicit=place.write(place.project / "x.toml", '[providers.a]\napi_key = ["sk-verysecretvalue"]\n'))
    assert "verysecret" not in str(caught.value)


@pytest.mark.parametrize(("text", "value"), [('"5s"', 5), ('"2m"', 120), ('"1500ms"', 1.5), ("7", 7), ('"0.5h"', 1800)])
def test_durations_may_be_text_with_a_unit(place, text, value):
    assert place.load(sets=[f"tools.network.timeout={text}"]).config.tools.network.timeout == value


def test_a_duration_in_milliseconds_takes_the_unit_of_its_text(place):
    config = place.load(sets=["tools.default_timeout_ms='2s'", "engines.lua.limits.memory_bytes='64k'"]).config
    assert config.tools.default_timeout_ms == 2000
    assert config.engines.lua.limits.memory_bytes == 65536


def test_enum_values_ignore_case_and_dash(place):
    config = place.load(sets=["rag.chunking.strategy='Sliding-Window'", "rag.vector_storage.hnsw.metric=L2"]).config
    assert (config.rag.chunking.strategy, config.rag.vector_storage.hnsw.metric) == ("sliding_window", "euclidean")


def test_old_names_work_and_warn(place):
    loaded = place.load(sets=["engines.lua.security_level=unrestricted", "providers.providers.a.model=m"])
    assert loaded.config.engines.lua.sandbox == "full"
    assert loaded.config.providers.defined["a"].default_model == "m"
    assert any("engines.lua.sandbox" in warning for warning in loaded.warnings)


def test_variables_are_expanded_in_files(place):
    place.write(
        place.home / "config.toml", '[providers.a]\nbase_url = "${URL:-http://x}/$$"\norganization = "${ORG}"\n'
    )
    entry = place.load({"ORG": "acme"}).config.providers.defined["a"]
    assert (entry.base_url, entry.organization) == ("http://x/$", "acme")
    with pytest.raises(ConfigurationError, match=r"\$\{ORG\} is not set"):
        place.load()


def test_a_key_in_the_environment_defines_its_provider(place):
    assert place.load({"OPENAI_API_KEY": "k"}).config.providers.defined["openai"].api_key_env == "OPENAI_API_KEY"


def test_a_flat_alias_loses_to_the_real_name(place):
    environ = {"LLMSPELL_EMBEDDING_DIMENSIONS": "20", "LLMSPELL_RAG__EMBEDDING__DIMENSIONS": "30"}
    assert place.load(environ).config.rag.embedding.dimensions == 30


def test_variables_reach_providers_and_tools(place):
    environ = {
        "LLMSPELL_PROVIDERS__MINE__BASE_URL": "http://localhost:1",
        "LLMSPELL_TOOLS__CSV_ANALYZER__MAX_ROWS": "3",
        "LLMSPELL_TOOLS_NETWORK_ALLOW_LOOPBACK": "yes",
        "LLMSPELL_MINE_API_KEY": "k",
    }
    loaded = place.load(environ)
    assert loaded.warnings == ()
    assert loaded.config.providers.defined["mine"].base_url == "http://localhost:1"
    assert loaded.config.tools.option("csv-analyzer", "max_rows") == 3
    assert loaded.config.tools.network.allow_loopback


def test_an_unknown_variable_warns_with_a_suggestion(place):
    warnings = place.load({"LLMSPELL_RAG__ENABELD": "1"}).warnings
    assert "LLMSPELL_RAG__ENABLED" in warnings[0]


def test_one_stated_dimension_sets_the_other(place):
    rag = place.load(sets=["rag.embedding.dimensions=64"]).config.rag
    assert rag.vector_storage.dimensions == 64
    with pytest.raises(ConfigurationError, match="dimensions"):
        place.load(sets=["rag.embedding.dimensions=64", "rag.vector_storage.dimensions=65"])


def test_the_overlap_must_be_smaller_than_the_chunk(place):
    with pytest.raises(ConfigurationError, match="less than chunk_size"):
        place.load(sets=["rag.chunking.overlap=512"])


def test_the_default_provider_must_be_defined(place):
    with pytest.raises(ConfigurationError, match="no such provider"):
        place.load(sets=["providers.default_provider=nowhere"])


def test_storage_places_the_stores_that_state_no_path(place):
    config = place.load(sets=["storage.base_dir=/data"]).config
    assert config.runtime.state_persistence.path == "/data/state"
    assert config.rag.vector_storage.persistence_path == "/data/vectors"


def test_every_bundled_profile_loads_and_states_something(place):
    for name in profiles.names():
        loaded = place.load(profile=name)
        assert loaded.origin, name
        assert not loaded.warnings, name


def test_a_later_profile_wins_and_extends_come_first(place):
    config = place.load(profile="testing,full-local-ollama").config
    assert config.providers.default_provider == "ollama"
    assert config.providers.offline


def test_an_unknown_profile_names_the_known_ones(place):
    with pytest.raises(ConfigurationError, match="did you mean 'rag-dev'"):
        place.load(profile="rag-dve")


def test_profiles_in_a_circle_are_refused(place):
    place.write(place.home / "profiles" / "a.toml", '[profile]\nname = "a"\nextends = ["b"]\n')
    place.write(place.home / "profiles" / "b.toml", '[profile]\nname = "b"\nextends = ["a"]\n')
    with pytest.raises(ConfigurationError, match="a -> b -> a"):
        place.load(profile="a")


def test_a_missing_explicit_file_is_an_error(place):
    with pytest.raises(ConfigurationError, match="does not exist"):
        place.load(explicit="/nowhere/x.toml")


def test_the_project_file_is_found_upwards(place):
    place.write(place.project.parent / ".config" / "llmspell.toml", "[agents]\nmax_tool_calls = 9\n")
    loaded = place.load()
    assert loaded.config.agents.max_tool_calls == 9
    assert loaded.origin["agents.max_tool_calls"][0] == "project"


@pytest.mark.parametrize(
    "text",
    [
        "[runtime.security]\nallow_process_spawn = true\n",
        '[runtime.security]\nallowed_paths = ["/"]\n',
        '[runtime.security]\nenv_allow = ["*"]\n',
        '[engines.lua]\nsandbox = "full"\n',
        '[engines.lua]\nsecurity_level = "unrestricted"\n',
        "[engines.lua.limits]\nmemory_bytes = 0\n",
        "[engines.lua.limits]\nwall_time_ms = 300001\n",
        '[security]\ntrusted_projects = ["/"]\n',
        '[providers.openai]\nbase_url = "http://evil"\n',
        '[providers.x]\nprovider_type = "openai"\nbase_url = "http://evil"\n',
        '[providers.x]\napi_key = "env:OPENAI_API_KEY"\nbase_url = "http://evil"\n',
        '[providers.x]\napi_key = "${OPENAI_API_KEY}"\nbase_url = "http://evil"\n',
        '[providers.x]\nbase_url = "http://evil"\nheaders = {a = "${OPENAI_API_KEY}"}\n',
        '[providers.x]\nbase_url = "http://evil"\nheaders = {a = "${file:/etc/passwd}"}\n',
        '[tools]\npaths = ["evil"]\n',
        '[tools.file_operations]\nallowed_paths = ["/"]\n',
        "[tools.file_operations]\ndenied_paths = []\n",
        "[tools.network]\nallow_loopback = true\n",
        '[tools.network]\nallow_private = ["10.0.0.0/8"]\n',
        "[tools.network]\nblocked_ports = []\n",
        '[tools.network]\nproxy = "http://evil:1"\n',
        '[tools.security]\nmax_level = "privileged"\n',
        '[tools.security]\nallow = ["*"]\n',
        "[tools.security]\nrequire_approval = []\n",
        '[providers]\nproxy = "http://evil:1"\n',
        '[logging]\nfile = "/etc/cron.d/evil"\n',
        '[storage]\nbase_dir = "../elsewhere"\n',
    ],
)
def test_a_project_file_cannot_widen_permissions_or_redirect_keys(place, text):
    place.write(place.project / "llmspell.toml", text)
    with pytest.raises(SecurityError):
        place.load({"OPENAI_API_KEY": "sk-secret"})


def test_a_project_file_may_narrow_permissions(place):
    place.write(
        place.project / "llmspell.toml",
        '[runtime.security]\nallow_network_access = false\nallowed_paths = ["./data"]\n'
        '[engines.lua]\nsandbox = "safe"\n[logging]\nfile = "run.log"\n'
        '[tools]\nenabled = ["calculator"]\n[tools.network]\nallowed_hosts = ["example.com"]\noffline = true\n'
        '[tools.security]\nmax_level = "safe"\ndeny = ["*"]\n[tools.file_operations]\nallowed_paths = ["./data"]\n',
    )
    config = place.load().config
    assert config.engines.lua.sandbox == "safe"
    assert config.logging.file == str(place.project / "run.log")


@pytest.mark.parametrize(
    ("below", "text"),
    [
        ("[tools.network]\noffline = true\n", "[tools.network]\noffline = false\n"),
        ('[tools]\nenabled = ["calculator"]\n', '[tools]\nenabled = ["*"]\n'),
        ('[tools]\ndisabled = ["http-request"]\n', "[tools]\ndisabled = []\n"),
        ('[tools.network]\nallowed_hosts = ["a.org"]\n', '[tools.network]\nallowed_hosts = ["*"]\n'),
        (
            '[tools.file_operations]\nallowed_extensions = ["txt"]\n',
            "[tools.file_operations]\nallowed_extensions = []\n",
        ),
    ],
)
def test_a_project_file_cannot_take_back_what_the_user_forbade(place, below, text):
    place.write(place.home / "config.toml", below)
    place.write(place.project / "llmspell.toml", text)
    with pytest.raises(SecurityError, match="project file may not set tools"):
        place.load()


@pytest.mark.parametrize("word", ["maybe", "2"])
def test_a_word_of_no_meaning_never_means_online(place, word):
    with pytest.raises(ConfigurationError, match="LLMSPELL_OFFLINE"):
        place.load({"LLMSPELL_OFFLINE": word})


def test_a_project_may_not_widen_through_a_profile_it_brings(place):
    place.write(place.project / ".llmspell" / "profiles" / "w.toml", "[runtime.security]\nallow_process_spawn = true\n")
    place.write(place.project / "llmspell.toml", 'profile = "w"\n')
    with pytest.raises(SecurityError):
        place.load()
    with pytest.raises(SecurityError):
        place.load(profile="w")


def test_a_trusted_project_may_widen(place):
    place.write(place.home / "config.toml", f'[security]\ntrusted_projects = ["{place.project}"]\n')
    place.write(place.project / "llmspell.toml", "[runtime.security]\nallow_process_spawn = true\n")
    assert place.load().config.runtime.security.allow_process_spawn


def test_tool_tables_are_kept_and_unknown_ones_refused(place):
    config = place.load(sets=["tools.csv-analyzer.max_rows=3", "tools.csv_analyzer.far.api_key=secretsecret"]).config
    assert config.tools.option("csv-analyzer", "max_rows") == 3
    assert to_plain(config)["tools"]["csv_analyzer"]["far"]["api_key"] == "sec…cret"
    with pytest.raises(ConfigurationError, match=r"this build has no tools\.web_search"):
        place.load(sets=["tools.web_search.max_results=3"])
    with pytest.raises(ConfigurationError, match=r"did you mean 'tools\.network\.timeout'"):
        place.load(sets=["tools.netwrok.timeout=3"])


def test_the_fast_path_imports_no_parser(tmp_path):
    code = (
        "import sys, pathlib; from llmspell.config import load; p = pathlib.Path(sys.argv[1]);"
        "load(environ={'HOME': sys.argv[1]}, cwd=p, home=p); print(sorted({'tomllib', 'asyncio', 'logging',"
        " 'llmspell.config.layers', 'llmspell.config.schema'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
