"""Commands as users run them: processes, streams, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture
def spell(tmp_path):
    """Return a function that runs llmspell in a folder and home of its own."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("LLMSPELL_", "OPENAI_"))}
    environ |= {"LLMSPELL_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "COLUMNS": "200"}

    def run(*words, stdin="", env=None):
        return subprocess.run(
            [sys.executable, "-m", "llmspell", *words], input=stdin, capture_output=True, text=True, cwd=tmp_path,
            env={**environ, **(env or {})}, timeout=60,
        )  # fmt: skip

    run.environ = environ
    run.folder = tmp_path
    return run


def test_exec_prints_only_what_the_script_writes(spell):
    done = spell("exec", "return 1+1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert spell("exec", "1+1", "--print-result").stdout == "2\n"
    assert spell("exec", "print('hi') return nil", "--print-result").stdout == "hi\n"
    assert spell("exec", "-", stdin="print(6*7)").stdout == "42\n"


def test_run_gives_the_script_its_arguments(spell):
    (spell.folder / "s.lua").write_text("#!/usr/bin/env llmspell\nprint(ARGS[0], #ARGS, ARGS[1], ARGS.name)\n")
    assert spell("run", "s.lua", "a", "--", "--name=x").stdout == "s.lua\t1\ta\tx\n"


def test_the_document_of_exec_holds_results_and_streams(spell):
    done = spell("exec", "print('out') return {a=1}, 2", "--output", "json")
    found = json.loads(done.stdout)
    assert (found["status"], found["command"], found["mode"]) == ("ok", "exec", "embedded")
    assert (found["result"], found["results"], found["stdout"]) == ({"a": 1}, [{"a": 1}, 2], "out\n")
    assert found["limits"]["memory_bytes"]["limit"] == 268435456
    assert set(found["usage"]) == {"input_tokens", "output_tokens", "cost_usd", "tool_calls", "model_calls"}


def test_jsonl_streams_output_and_ends_with_the_document(spell):
    lines = [json.loads(line) for line in spell("exec", "print('a')", "--output=jsonl", "--stream").stdout.splitlines()]
    assert lines[0] == {"type": "stream", "name": "stdout", "text": "a\n"}
    assert (lines[-1]["type"], lines[-1]["status"]) == ("end", "ok")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["exec", "error('x')"], 1),
        (["exec", "x = = 1", "--check"], 1),
        (["exec", "os.exit(7)"], 7),
        (["exec", "os.exit(-1)"], 255),
        (["exec", "os.exit(false)"], 1),
        (["run", "absent.lua"], 4),
        (["exec", "io.open('/etc/passwd')"], 5),
        (["exec", "while true do end", "--time-limit", "100ms"], 124),
        (["exec", "string.rep('x', 1e9)", "--memory-limit", "1m"], 1),
        (["exec", "return 0/0", "--print-result"], 1),
        (["exec", "1", "--engine", "python"], 2),
        (["exec", "1", "--time-limit", "soon"], 2),
        (["nonsense"], 2),
        (["exec", "1", "--config", "absent.toml"], 3),
        (["exec", "1", "--set", "rag.enabeld=true"], 3),
        (["tool", "info", "nope"], 4),
        (["config", "show", "nope"], 4),
        ([], 2),
    ],
)
def test_exit_codes(spell, words, code):
    done = spell(*words)
    assert done.returncode == code, done.stderr
    as_json = spell(*words, "--output", "json")
    if (
        words
        and code != 0
        and words[:2] != ["exec", "os.exit(7)"]
        and "os.exit" not in words[1 if len(words) > 1 else 0]
    ):
        assert json.loads(as_json.stdout)["status"] == "error"


def test_a_wrong_option_names_the_nearest(spell):
    done = spell("run", "x.lua", "--sandbx", "safe")
    assert done.stderr == "error: unknown option '--sandbx' of 'run'\nhint: did you mean '--sandbox'?\n"


def test_allowed_paths_widen_one_run(spell, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "f").write_text("inside")
    code = f"print(io.open('{folder}/f'):read('a'))"
    assert spell("exec", code).returncode == 5
    assert spell("exec", code, "--allow-path", str(folder)).stdout == "inside\n"


def test_allowed_environment_widens_one_run_but_never_for_secrets(spell):
    code = "print(os.getenv('PLAIN'), os.getenv('MY_TOKEN'))"
    env = {"PLAIN": "p", "MY_TOKEN": "t"}
    assert spell("exec", code, env=env).stdout == "nil\tnil\n"
    assert spell("exec", code, "--allow-env", "PLAIN", "--allow-env", "MY_TOKEN", env=env).stdout == "p\tnil\n"


def test_the_seed_fixes_random_numbers(spell):
    first = spell("exec", "print(math.random(1e9))", "--seed", "5").stdout
    assert first == spell("exec", "print(math.random(1e9))", "--seed", "5").stdout != "\n"


def test_a_reader_that_leaves_ends_the_run_quietly(spell):
    done = subprocess.run(
        f"{sys.executable} -m llmspell exec 'for i = 1, 1e9 do print(i) end' | head -1",
        shell=True, capture_output=True, text=True, env=spell.environ, cwd=spell.folder, timeout=30,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "code_text", ["print('go') while true do end", "print('go') Async.sleep(60000)", "print('go') io.read()"]
)
def test_signals_end_a_run_with_their_code(spell, number, code, code_text):
    process = subprocess.Popen(
        [sys.executable, "-m", "llmspell", "exec", code_text], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=spell.environ, cwd=spell.folder,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == b"go\n"
        time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == code


def test_repl_reads_chunks_and_keeps_values(spell):
    done = spell("repl", stdin="1+1\n_ * 2\nfunction f()\n  return {a = 1}\nend\nf()\n_1\n")
    assert done.stdout == "[1]=> 2\n[2]=> 4\n[3]=> {a = 1}\n[4]=> 2\n"
    assert done.returncode == 0


def test_repl_stops_at_the_first_error_unless_told(spell):
    done = spell("repl", stdin="error('x')\n1\n")
    assert (done.returncode, done.stdout) == (1, "")
    done = spell("repl", "--keep-going", stdin="error('x')\n5\n.nope\n")
    assert (done.returncode, done.stdout) == (1, "[1]=> 5\n")
    assert "unknown command .nope" in done.stderr


def test_repl_dot_commands(spell):
    (spell.folder / "lib.lua").write_text("loaded = 7\n")
    done = spell(
        "repl", stdin=".load lib.lua\nloaded\n.set y 2+3\ny\n.vars l*\n.reset\nloaded\n.model echo/echo\n.chat hello\n"
    )
    assert done.returncode == 0, done.stderr
    assert "[1]=> 7\n[2]=> 5\n" in done.stdout
    assert "loaded  number" in done.stdout
    assert done.stdout.endswith("new Lua state\necho/echo\nhello\n")


def test_tools_are_listed_described_found_and_called(spell):
    assert spell("tool", "list").stdout.startswith("NAME")
    assert json.loads(spell("tool", "info", "calculator", "--output", "json").stdout)["security_level"] == "safe"
    found = json.loads(spell("tool", "search", "arithmetic", "--output", "json").stdout)
    assert found["matches"][0]["name"] == "calculator"
    assert spell("tool", "invoke", "calculator", "--param", "input=2+3*4").stdout == "14\n"
    assert spell("tool", "invoke", "calculator", "--params", '{"inputt": 1}').returncode == 2
    assert spell("tool", "invoke", "calculator", "--params", "-", stdin='{"input": "2+*"}').returncode == 1
    assert spell("tool", "test", "calculator").returncode == 0


def test_configuration_is_written_changed_and_checked(spell):
    assert spell("config", "init").returncode == 0
    assert oct((spell.folder / "llmspell.toml").stat().st_mode & 0o777) == "0o600"
    assert spell("config", "init").returncode == 1
    assert spell("config", "validate").returncode == 0
    assert spell("config", "set", "rag.retrieval.top_k", "7").returncode == 0
    assert spell("config", "get", "rag.retrieval.top_k").stdout == "7\n"
    assert spell("config", "set", "rag.retrieval.top_k", "seven").returncode == 3
    assert spell("config", "get", "rag.retrieval.top_k").stdout == "7\n"
    assert "home" in spell("config", "show", "rag.retrieval", "--origin").stdout
    assert spell("config", "unset", "rag.retrieval.top_k").returncode == 0
    assert spell("config", "get", "rag.retrieval.top_k").stdout == "10\n"
    assert spell("config", "unset", "rag.retrieval.top_k").returncode == 4


def test_secrets_are_masked_unless_asked_for(spell):
    spell("config", "set", "providers.openai.api_key", "sk-abcdefghijwxyz")
    assert spell("config", "get", "providers.openai.api_key").stdout == "sk-…wxyz\n"
    assert "abcdef" not in spell("config", "show", "--output", "json").stdout
    assert spell("config", "show", "--show-secrets").returncode == 2
    assert "abcdef" in spell("config", "show", "--show-secrets", "--yes").stdout


def test_a_broken_file_stops_only_commands_that_read_it(spell):
    (spell.folder / "llmspell.toml").write_text("[agents\n")
    done = spell("exec", "1")
    assert done.returncode == 3
    assert "llmspell.toml:1:" in done.stderr
    for words in (["--version"], ["--help"], ["tool", "list"], ["completion", "bash"], ["config", "list-profiles"]):
        assert spell(*words).returncode == 0
    assert spell("config", "validate").returncode == 3


def test_a_project_that_widens_permissions_is_refused(spell):
    (spell.folder / "llmspell.toml").write_text("[runtime.security]\nallow_process_spawn = true\n")
    assert spell("exec", "1").returncode == 5


def test_providers_are_listed_without_keys(spell):
    done = spell("provider", "list", "--output", "json", env={"OPENAI_API_KEY": "sk-verysecretkey"})
    assert "verysecret" not in done.stdout
    assert json.loads(done.stdout)["providers"][0]["key"] == "env:OPENAI_API_KEY"
    assert spell("provider", "test", "echo").returncode == 0
    assert spell("provider", "test", "openai").returncode == 3


def test_doctor_tells_what_works(spell):
    done = spell("doctor", "--output", "json")
    found = {check["name"]: check["status"] for check in json.loads(done.stdout)["checks"]}
    assert (found["lua"], found["native core"], found["configuration"], done.returncode) == ("ok", "ok", "ok", 0)


def test_doctor_tells_what_the_embedder_can_do(spell):
    def said(*words, **env):
        done = spell("doctor", "--output", "json", *words, env=env)
        (check,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "embedder"]
        return check["status"], check["message"]

    assert said() == ("ok", "builtin: finds shared words and spellings, not meaning")
    chosen = ("--set", "rag.embedding.default_provider=cohere")
    assert said(*chosen) == ("warn", "cohere: no key")
    assert said(*chosen, COHERE_API_KEY="k" * 20) == ("ok", "cohere")
    status, message = said("--set", "rag.embedding.default_provider=onnx")
    assert status == "warn"
    assert "rag.embedding.directory" in message


def test_every_level_has_help(spell):
    for words in (["--help"], ["tool", "--help"], ["run", "--help"], ["config", "set", "-h"]):
        done = spell(*words)
        assert done.returncode == 0
        assert "Usage: llmspell" in done.stdout


def test_completion_scripts_are_valid_shell(spell):
    script = spell("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert "calculator" in spell("__complete", "tool").stdout
    assert spell("completion", "tcsh").returncode == 2


def test_home_is_private_from_the_first_use(spell):
    assert spell("exec", "State.set('a', 1)").returncode == 0
    assert oct((spell.folder / "home").stat().st_mode & 0o777) == "0o700"


def test_output_of_config_init_is_a_file_unless_it_is_a_form(spell):
    assert spell("config", "init", "--output", "my.toml").returncode == 0
    assert (spell.folder / "my.toml").exists()
    assert json.loads(spell("config", "init", "other.toml", "--output", "json").stdout)["path"] == "other.toml"


def test_a_profile_by_option_and_variable(spell):
    code = "print(Config.get('engines.lua.strict'))"
    assert spell("exec", code, "-p", "dev").stdout == "true\n"
    assert spell("exec", code, env={"LLMSPELL_PROFILE": "dev"}).stdout == "true\n"
    assert spell("exec", code, "-p", "nope").returncode == 3


def test_offline_refuses_the_network(spell):
    code = "return Tool.invoke('http-request', {url = 'http://example.com/'}).error.code"
    assert spell("exec", code, "--offline", "--print-result").stdout == '"offline"\n'


def test_the_script_reads_standard_input(spell):
    assert spell("exec", "print(io.read('n' and 'l'), io.read('a'))", stdin="one\ntwo\n").stdout == "one\ttwo\n\n"
    assert spell("repl", stdin="io.read()\nmore\n").stdout == '[1]=> "more"\n'


@pytest.mark.parametrize(("target", "code"), [("&-", 0), ("/dev/full", 1)])
def test_an_output_that_cannot_be_written_is_no_crash(spell, target, code):
    done = subprocess.run(
        f"{sys.executable} -m llmspell tool list >{target}", shell=True, capture_output=True, text=True,
        env=spell.environ, cwd=spell.folder, timeout=30,
    )  # fmt: skip
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_the_document_counts_model_and_tool_calls(spell):
    code = """
        local a = Agent.builder():name("a"):model("echo/echo"):build()
        a:execute({prompt = "one two three"})
        Tool.invoke("calculator", {input = "1"})
    """
    usage = json.loads(spell("exec", code, "--output", "json").stdout)["usage"]
    assert (usage["model_calls"], usage["input_tokens"], usage["tool_calls"]) == (1, 3, 1)


def test_diagnostics_go_where_the_configuration_says(spell):
    code = "Debug.info('noted')"
    assert spell("exec", code).stderr == ""
    assert "noted" in spell("exec", code, "--trace", "info").stderr
    assert "noted" in spell("exec", code, "--set", "logging.level=info").stderr
    assert spell("exec", code, "--set", "logging.level=info", "-q").stderr == ""
    assert spell("exec", "1", "--set", "logging.file=/nowhere/x").returncode == 3


def test_repl_lists_its_agents(spell):
    done = spell("repl", stdin='a = Agent.builder():name("bob"):model("echo/echo"):build()\n.agents\n')
    assert done.stdout == "bob\n", done.stderr
