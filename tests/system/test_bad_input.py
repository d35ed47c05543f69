"""Bad input from outside: the exit code, and a message that says what was wrong, where, and what to do."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml


@pytest.fixture
def spell(tmp_path):
    """Return a function that runs llmspell in a folder and home of its own."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("LLMSPELL_", "OPENAI_"))}
    environ = {**keep, "LLMSPELL_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}

    def run(*words, stdin=b"", env=None, **more):
        done = subprocess.run(
            [sys.executable, "-m", "llmspell", *words], input=stdin, capture_output=True, cwd=tmp_path,
            env={**environ, **(env or {})}, timeout=60, **more,
        )  # fmt: skip
        done.stdout, done.stderr = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        return done

    run.environ, run.folder = environ, tmp_path
    return run


def write(spell, name, data):
    path = spell.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize(
    ("words", "code", "kind", "said"),
    [
        (["--frob"], 2, "validation", "unknown option '--frob'"),
        (["exec", "--sandbxo", "safe", "1"], 2, "validation", "--sandbox"),
        (["frob"], 2, "validation", "unknown command 'frob'"),
        (["tool", "frob"], 2, "validation", "frob"),
        (["run"], 2, "validation", "llmspell run SCRIPT"),
        (["exec", "1", "--engine", "javascript"], 2, "validation", "the only engine is lua"),
        (["exec", "1", "--time-limit", "-1"], 2, "validation", "a time such as 30"),
        (["exec", "1", "--memory-limit", "1x"], 2, "validation", "a size such as"),
        (["exec", "1", "--max-tokens", "0"], 2, "validation", "at least 1"),
        (["exec", "1", "--max-cost", "nan"], 2, "validation", "a number above 0"),
        (["exec", "1", "--allow-env", ""], 2, "validation", "--allow-env"),
        (["exec", "1", "--allow-path", ""], 2, "validation", "--allow-path"),
        (["exec", "1", "--allow-host", "http://x/"], 2, "validation", "--allow-host http://x/"),
        (["--set", "agents", "exec", "1"], 2, "validation", "expected KEY=VALUE"),
        (["--set", "agents.max_tol_calls=3", "exec", "1"], 3, "configuration", "did you mean 'agents.max_tool_calls'"),
        (["--set", "agents.max_tool_calls=0", "exec", "1"], 3, "configuration", "expected int >= 1"),
        (["--config", "absent.toml", "exec", "1"], 3, "configuration", "absent.toml does not exist"),
        (["--profile", "absent", "exec", "1"], 3, "configuration", "unknown profile 'absent'"),
        (["config", "get", "agents.max_tol_calls"], 4, "storage", "agents.max_tool_calls"),
        (["config", "set", "agents.max_tool_calls", "x"], 3, "configuration", "agents.max_tool_calls"),
        (["run", "absent.lua"], 4, "storage", "no script absent.lua"),
        (["run", "."], 1, "script", "is a folder"),
        (["tool", "info", "calculater"], 4, "tool", "calculator"),
        (["tool", "invoke", "calculater"], 4, "tool", "did you mean 'calculator'"),
        (["tool", "invoke", "calculator", "--params", "{bad"], 2, "validation", "line 1 column 2"),
        (["tool", "invoke", "calculator", "--params", "@absent"], 2, "validation", "@absent"),
        (["tool", "invoke", "calculator", "--params", '{"inptu": "1"}'], 2, "validation", "did you mean 'input'"),
        (["provider", "test", "absent"], 4, "component", "unknown provider 'absent'"),
        (["provider", "models", "absent"], 4, "component", "unknown provider 'absent'"),
        (["rag", "ingest", "absent"], 4, "storage", "absent"),
        (["exec", 'Tool.execute("absent", {})'], 4, "tool", "Tool 'absent' not found"),
        (["exec", 'Agent.builder():model("absent/x"):build():execute({prompt = "a"})'], 4, "configuration", "absent"),
    ],
)
@pytest.mark.parametrize("form", ["text", "json", "yaml"])
def test_an_error_has_its_code_kind_and_words_in_every_form(spell, words, code, kind, said, form):
    done = spell("--output", form, *words)
    assert done.returncode == code, done.stderr
    if form == "text":
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert said in done.stderr
        assert "internal error" not in done.stderr
        return
    assert done.stderr == ""
    document = json.loads(done.stdout) if form == "json" else yaml.safe_load(done.stdout)
    assert (document["schema"], document["status"]) == ("llmspell.cli/1", "error")
    assert said in json.dumps(document["error"], ensure_ascii=False)
    assert document["error"]["kind"] == kind


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"print(1)\nlocal x = = 3\n", "s.lua:2: unexpected symbol near '='"),
        (b"\xff\xfe print(1)", "s.lua:1: unexpected symbol"),
        (b"print(1)\0print(2)", "s.lua:1: unexpected symbol"),
        (b"\x1bLua\x54\x00", "only Lua source text"),
        (b"--" + b"x" * 10_485_760, "script_bytes (limit 10485760"),
        (b"local function f()\n  Tool.execute('calculator', 3)\nend\nf()\n", "s.lua:2: "),
        (b"local function f()\n  error('boom', 0)\nend\nf()\n", "s.lua:2: boom"),
    ],
)
def test_a_script_that_is_no_good_is_named_with_its_line(spell, data, said):
    write(spell, "s.lua", data)
    done = spell("run", "s.lua")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    document = json.loads(spell("run", "s.lua", "--output", "json").stdout)
    assert document["status"] == "error"


def test_scripts_that_look_bad_and_are_good_run(spell):
    write(spell, "empty.lua", b"")
    write(spell, "bytes.lua", b'io.write("\xff\\0\xfe")')
    assert spell("run", "empty.lua").returncode == 0
    assert json.loads(spell("run", "bytes.lua", "--output", "json").stdout)["status"] == "ok"
    assert spell("run", "-", stdin=b"print(6 * 7)").stdout == "42\n"
    assert spell("run", "-", stdin=b"").returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads files of mode 000")
def test_a_script_that_may_not_be_read_is_an_error(spell):
    write(spell, "s.lua", b"").chmod(0)
    done = spell("run", "s.lua")
    assert (done.returncode, "cannot read the script s.lua" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("return function() end", "function"),
        ("return 0/0", "has no JSON form"),
        ("return '\\xff'", "not UTF-8"),
        ("local t = {} t.t = t return t", "cycle"),
    ],
)
def test_a_result_without_a_form_is_an_error_of_one_document(spell, code, said):
    for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        done = spell("exec", code, "--output", form)
        error = read(done.stdout)["error"]
        assert (done.returncode, error["kind"], said in error["message"]) == (1, "validation", True), error


@pytest.mark.parametrize(
    ("name", "data"),
    [("broken", b"[agents\n"), ("not text", b"\xff\xfe"), ("wrong", b"[agents]\nmax_tool_calls = 0\n")],
)
def test_a_broken_configuration_stops_only_what_reads_it_and_is_left_alone(spell, name, data):
    path = write(spell, "home/config.toml", data)
    for words in (["exec", "1"], ["config", "show"], ["provider", "list"], ["config", "validate"]):
        done = spell(*words)
        assert done.returncode == 3, (words, done.stderr)
        assert str(path) in done.stdout + done.stderr
    for words in (["--help"], ["--version"], ["tool", "list"], ["tool", "info", "calculator"], ["completion", "bash"]):
        assert spell(*words).returncode == 0, words
    assert spell("config", "set", "cli.color", "never").returncode == 3
    assert path.read_bytes() == data


def test_a_file_where_home_should_be_is_an_error_and_stays(spell):
    path = write(spell, "home", b"mine")
    for words in (["exec", "State.save('global', 'a', 1)"], ["config", "set", "cli.color", "never"]):
        done = spell(*words)
        assert done.returncode == 1
        assert str(path) in done.stderr
        assert "internal error" not in done.stderr
    assert spell("doctor").returncode == 1
    assert spell("exec", "print(1)").stdout == "1\n"
    assert path.read_bytes() == b"mine"


def test_a_home_that_cannot_be_made_hurts_only_who_needs_it(spell):
    home = {"LLMSPELL_HOME": "/proc/no/home"}
    assert spell("exec", "print(1)", env=home).stdout == "1\n"
    assert spell("tool", "invoke", "calculator", "--param", "input=1+1", env=home).stdout == "2\n"
    done = spell("exec", "State.save('global', 'a', 1)", env=home)
    assert (done.returncode, "/proc/no/home" in done.stderr) == (1, True)
    if os.geteuid() != 0:  # who may write everywhere is told nothing
        assert spell("doctor", env=home).returncode == 1


def test_damaged_state_is_told_and_not_touched(spell):
    assert spell("exec", "State.save('global', 'a', 1)").returncode == 0
    path = spell.folder / "home" / "state" / "state.db"
    path.write_bytes(b"no database" * 1000)
    done = spell("exec", "State.save('global', 'b', 2)", "--output", "json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["kind"], error["details"]["code"]) == (1, "storage", "corrupt")
    assert str(path) in error["message"]
    assert path.read_bytes() == b"no database" * 1000


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_told_and_what_was_saved_before_stays(spell, small_disk):
    home = {"LLMSPELL_HOME": str(small_disk / "home")}
    assert spell("exec", "State.save('global', 'first', 'kept')", env=home).returncode == 0
    ballast = small_disk / "ballast"
    ballast.write_bytes(os.urandom(600_000))
    code = (
        "for i = 1, 100 do local t = {} for j = 1, 400 do t[j] = Utils.uuid() end State.save('global', 'k' .. i, t) end"
    )
    done = spell("exec", code, "--output", "json", env=home)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["kind"], error["details"]["code"]) == (1, "storage", "disk_full"), error
    read = "print(State.load('global', 'first'))"
    assert spell("exec", read, env=home).stdout == "kept\n"
    ballast.unlink()
    assert spell("exec", f"State.save('global', 'last', 1) {read}", env=home).stdout == "kept\n"


@pytest.mark.parametrize(
    ("name", "value", "code", "said"),
    [
        ("LLMSPELL_AGENTS__MAX_TOOL_CALLS", "x", 3, "agents.max_tool_calls"),
        ("LLMSPELL_TOOLS__NETWORK__TIMEOUT", "-1", 3, "expected float > 0"),
        ("LLMSPELL_RUNTIME__SECURITY__ALLOWED_PATHS", "[", 3, "expected array"),
        ("LLMSPELL_RUNTIME__SECURITY__ALLOW_FILE_ACCESS", "perhaps", 3, "expected bool"),
        ("LLMSPELL_OFFLINE", "perhaps", 3, "expected 1 or 0"),
        ("LLMSPELL_CONFIG", "/absent.toml", 3, "does not exist"),
        ("LLMSPELL_PROFILE", "absent", 3, "unknown profile"),
        ("LLMSPELL_OUTPUT", "absent", 2, "one of text"),
        ("LLMSPELL_LOG", "absent", 2, "one of off"),
        ("LLMSPELL_ENGINE", "absent", 2, "the only engine"),
        ("LLMSPELL_AGENTS__MAX_TOL_CALLS", "1", 0, "did you mean LLMSPELL_AGENTS__MAX_TOOL_CALLS"),
    ],
)
def test_a_variable_with_a_bad_value_is_named(spell, name, value, code, said):
    done = spell("exec", "1", env={name: value})
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_a_project_that_widens_security_is_refused_with_file_and_line(spell):
    path = write(spell, "llmspell.toml", '[agents]\nmax_tool_calls = 3\n[tools]\npaths = ["evil"]\n')
    write(spell, "evil/boom.py", "raise SystemExit(99)\n")
    done = spell("exec", "Tool.list()")
    assert done.returncode == 5
    assert f"{path}:4: " in done.stderr
    assert "tools.paths" in done.stderr


def test_profiles_that_extend_each_other_are_an_error(spell):
    for name, other in (("a", "b"), ("b", "a")):
        write(spell, f"home/profiles/{name}.toml", f'[profile]\nname = "{name}"\nextends = ["{other}"]\n')
    done = spell("--profile", "a", "exec", "1")
    assert (done.returncode, "circle: a -> b -> a" in done.stderr) == (3, True), done.stderr
    write(spell, "home/profiles/c.toml", b"\xff")
    done = spell("--profile", "c", "exec", "1")
    assert (done.returncode, "not UTF-8" in done.stderr) == (3, True), done.stderr
    done = spell("config", "list-profiles")
    assert (done.returncode, "c.toml is no profile" in done.stderr) == (0, True)


def test_allow_options_open_what_they_name_and_no_more(spell):
    outside = spell.folder.parent / f"{spell.folder.name}-outside"
    outside.mkdir()
    (outside / "f").write_text("in")
    code = f"print(io.open('{outside}/f'):read('a'))"
    assert spell("exec", code).returncode == 5
    assert spell("exec", code, "--allow-path", str(outside)).stdout == "in\n"
    env = {"PLAIN": "p", "MY_API_KEY": "sk-secret"}
    done = spell("exec", "print(os.getenv('PLAIN'), os.getenv('MY_API_KEY'))", "--allow-env", "PLAIN",
                 "--allow-env", "MY_API_KEY", env=env)  # fmt: skip
    assert done.stdout == "p\tnil\n"
    assert "named like a secret" in done.stderr
    ask = "local r = Tool.execute('http-request', {url = 'http://127.0.0.1:8099/'}) print(r.error.kind)"
    assert spell("exec", ask).returncode == 5
    assert spell("exec", ask, "--allow-host", "127.0.0.1").stdout == "network\n"


@pytest.mark.parametrize("option", ["--max-tokens", "--max-cost"])
def test_a_budget_that_is_used_up_is_exit_6(spell, option):
    write(spell, "home/config.toml", '[providers.echo]\nprovider_type = "echo"\n[providers.echo.prices]\n'
          'x = { input = 1000.0, output = 1000.0 }\n')  # fmt: skip
    code = (
        "local a = Agent.builder():model('echo/x'):build() for i = 1, 20 do a:execute({prompt = 'one two three'}) end"
    )
    done = spell("exec", code, option, "2" if option == "--max-tokens" else "0.000001")
    assert done.returncode == 6, done.stderr
    assert "budget_" in done.stderr


LOOPS = [
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "pcall(Utils.sleep, 60000) while true do end",
    "pcall(io.read) while true do end",
    "while true do Tool.execute('calculator', {input = '1+1'}) end",
]


@pytest.mark.parametrize("code", LOOPS)
def test_the_time_limit_ends_every_loop_and_every_wait(spell, code):
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "llmspell", "exec", "--time-limit", "0.4", f"{code} print('after')"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=spell.folder, env=spell.environ,
    ) as run:  # fmt: skip
        assert run.wait(20) == 124
        assert run.stdout.read() == b""
        assert b"wall_time_ms" in run.stderr.read()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("code", LOOPS)
def test_a_signal_ends_every_loop_and_every_wait(spell, code, number, expected):
    with subprocess.Popen(
        [sys.executable, "-m", "llmspell", "exec", "--stream", f"print('up') {code} print('after')"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=spell.folder, env=spell.environ,
    ) as run:  # fmt: skip
        assert run.stdout.readline() == b"up\n"
        run.send_signal(number)
        assert run.wait(10) == expected
        assert run.stdout.read() == b""
        assert b"Traceback" not in run.stderr.read()


def test_input_without_end_stops_at_the_memory_limit(spell):
    done = spell("exec", "--memory-limit", "10m", "print(#io.read('a'))", stdin=bytes(12_000_000))
    assert (done.returncode, "memory_bytes" in done.stderr) == (1, True)


def test_an_idle_repl_on_a_pipe_ends_at_a_signal(spell):
    with subprocess.Popen(
        [sys.executable, "-m", "llmspell", "repl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=spell.folder, env=spell.environ,
    ) as run:  # fmt: skip
        run.stdin.write(b"1 + 1\n")
        run.stdin.flush()
        assert run.stdout.readline() == b"[1]=> 2\n"
        run.send_signal(signal.SIGINT)
        assert run.wait(10) == 130


def test_scripts_of_a_piped_repl_read_the_lines_that_follow(spell):
    done = spell("repl", stdin=b"x = io.read()\nhello\nprint(x)\n")
    assert (done.returncode, done.stdout) == (0, "hello\n")


@pytest.mark.parametrize(
    "words", [["tool", "list"], ["exec", "for i = 1, 1e7 do print(i) end"], ["exec", "1", "--output=json"]]
)
def test_a_full_disk_behind_standard_output_is_told(spell, words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "llmspell", *words], stdout=full, stderr=subprocess.PIPE,
                              cwd=spell.folder, env=spell.environ, timeout=60)  # fmt: skip
    assert (done.returncode, done.stderr) == (1, b"error: cannot write the output: No space left on device\n")


@pytest.mark.parametrize("words", [["tool", "list"], ["exec", "for i = 1, 1e7 do print(i) end"]])
def test_a_reader_that_left_ends_the_command_quietly(spell, words):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run([sys.executable, "-m", "llmspell", *words], stdout=gone, stderr=subprocess.PIPE,
                              cwd=spell.folder, env=spell.environ, timeout=60)  # fmt: skip
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_folder_without_a_readable_file_is_told(spell):
    (spell.folder / "none").mkdir()
    done = spell("rag", "ingest", "none")
    assert (done.returncode, "no documents" in done.stderr) == (0, True), done.stderr
    write(spell, "bad/data.txt", b"\xff\xfe\x00\x00")
    done = spell("rag", "ingest", "bad", "--output", "json")
    document = json.loads(done.stdout)
    assert document["skipped"][0]["source"].endswith("data.txt")
    assert document["skipped"][0]["reason"]
