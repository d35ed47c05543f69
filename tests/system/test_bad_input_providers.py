"""A model service that misbehaves: kind, exit code, what is said, how often it was asked, and that no key is told."""

import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time

import pytest

KEY = "sk-verysecret0123456789abcdef"
ANSWER = b'{"id":"x","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}]}'
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"par"}}]}\n\n'
ECHO = f'{{"error":{{"message":"bad key {KEY}","type":"t"}}}}'.encode()


class Server(socketserver.ThreadingTCPServer):
    """Answers every request as `behaviour` says and counts them."""

    allow_reuse_address = daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour, self.requests, self.going = "ok", 0, threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        length = 0
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.rfile.read(length)
        self.server.requests += 1
        behaviour = self.server.behaviour
        if behaviour == "closed":
            return
        if behaviour == "never":
            self.server.going.wait(20)
            return
        if behaviour == "truncated":
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n"
            self.wfile.write(head + CHUNK)
            return
        if behaviour == "garbage":
            self.answer(200, b"<html>\xff\x00not json")
        elif behaviour == "not http":
            self.wfile.write(b"\x00\x01\x02 hello\r\n\r\n")
        elif behaviour == "ok":
            self.answer(200, ANSWER)
        else:
            status, _, after = behaviour.partition(" ")
            self.answer(int(status), ECHO, f"retry-after: {after}\r\n" if after else "")

    def answer(self, status, body, more=""):
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{more}\r\n"
        self.wfile.write(head.encode() + body)


@pytest.fixture
def server():
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.going.set()
        found.shutdown()
        thread.join()


@pytest.fixture
def spell(tmp_path, server):
    """Return a function that runs llmspell with the server as provider `bad`."""
    config = tmp_path / "c.toml"
    config.write_text(
        f'[providers.bad]\nprovider_type = "openai"\napi_key = "{KEY}"\nbase_url = "{server.url}"\n'
        'default_model = "m"\nmax_retries = 2\ntimeout_seconds = 5\n'
        "[providers.bad.retry]\ninitial_delay_ms = 1\nmax_delay_ms = 2\nretry_after_cap_ms = 1500\n"
    )
    config.chmod(0o600)
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("LLMSPELL_", "OPENAI_"))}
    environ = {**keep, "LLMSPELL_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}

    def command(*words):
        return [sys.executable, "-m", "llmspell", "--config", str(config), *words]

    def run(*words):
        return subprocess.run(command(*words), capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=60)

    run.command, run.environ, run.folder = command, environ, tmp_path
    return run


CASES = [
    ("401", "provider", "auth", 1, "refused the key"),
    ("403", "provider", "auth", 1, "refused the key"),
    ("404", "provider", "model_not_found", 1, "check model and base_url"),
    ("429 1", "rate_limit", "rate_limit", 3, "too many requests"),
    ("429 60", "rate_limit", "rate_limit", 1, "too many requests"),
    ("500", "provider", "unavailable", 3, "not available"),
    ("503", "provider", "unavailable", 3, "not available"),
    ("garbage", "provider", "bad_response", 2, ""),
    ("not http", "provider", "bad_response", 2, "not HTTP"),
    ("closed", "network", None, 3, ""),
]


@pytest.mark.parametrize(("behaviour", "kind", "code", "asked", "said"), CASES)
def test_provider_test_says_what_the_service_did(spell, server, behaviour, kind, code, asked, said):
    server.behaviour = behaviour
    done = spell("--output", "json", "provider", "test", "bad")
    document = json.loads(done.stdout)
    error = document["error"]
    assert (done.returncode, document["status"], error["kind"]) == (7, "error", kind), done.stdout
    assert code in (None, error["details"]["code"])
    assert said in error["message"]
    assert "bad" in error["message"] or "127.0.0.1" in error["message"]
    assert server.requests == asked
    assert KEY not in done.stdout + done.stderr


@pytest.mark.parametrize(("behaviour", "kind", "code", "asked", "said"), CASES)
def test_a_spell_that_asks_an_agent_ends_with_the_same_error(spell, server, behaviour, kind, code, asked, said):
    server.behaviour = behaviour
    ask = 'print(Agent.builder():model("bad/m"):build():execute({prompt = "hi"}).text)'
    (spell.folder / "ask.lua").write_text(ask)
    done = spell("--output", "json", "run", "ask.lua")
    document = json.loads(done.stdout)
    assert (done.returncode, document["error"]["kind"]) == (7, kind), done.stdout
    assert said in document["error"]["message"]
    assert server.requests == asked
    assert KEY not in done.stdout + done.stderr
    plain = spell("run", "ask.lua", "--trace", "trace")
    assert plain.returncode == 7
    assert plain.stdout == ""
    assert "error: " in plain.stderr
    assert KEY not in plain.stderr


def test_a_service_that_never_answers_ends_at_the_time_given(spell, server):
    server.behaviour = "never"
    began = time.monotonic()
    done = spell("--output", "json", "provider", "test", "bad", "--timeout", "0.5")
    assert (done.returncode, json.loads(done.stdout)["error"]["kind"]) == (7, "timeout"), done.stdout
    assert time.monotonic() - began < 5


def test_a_run_that_waits_for_a_model_ends_at_its_limit(spell, server):
    server.behaviour = "never"
    code = 'print(pcall(function() return Agent.builder():model("bad/m"):build():execute({prompt = "hi"}) end))'
    done = spell("exec", "--time-limit", "0.5", code)
    assert (done.returncode, done.stdout) == (124, ""), done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_wait_for_a_model(spell, server, number, code):
    server.behaviour = "never"
    ask = 'pcall(function() Agent.builder():model("bad/m"):build():execute({prompt = "hi"}) end) print("after")'
    with subprocess.Popen(
        spell.command("exec", ask), stdout=subprocess.PIPE, env=spell.environ, cwd=spell.folder
    ) as run:
        until = time.monotonic() + 20
        while not server.requests and time.monotonic() < until:
            time.sleep(0.02)
        run.send_signal(number)
        out, _ = run.communicate(timeout=10)
    assert (run.returncode, out) == (code, b"")


def test_a_stream_that_breaks_off_is_an_error_and_what_came_is_not_repeated(spell, server):
    server.behaviour = "truncated"
    code = (
        'local agent = Agent.builder():model("bad/m"):build() '
        'for chunk in agent:stream({prompt = "hi"}) do if chunk.text then io.write(chunk.text) end end'
    )
    done = spell("exec", code)
    assert (done.returncode, done.stdout) == (7, "par"), done.stderr
    assert server.requests == 1


def test_a_missing_key_is_a_matter_of_configuration(spell):
    done = spell("--output", "json", "provider", "test", "groq")
    document = json.loads(done.stdout)
    assert (done.returncode, document["error"]["kind"]) in ((3, "configuration"), (4, "component"))
    done = spell("--output", "json", "provider", "test", "openai")
    document = json.loads(done.stdout)
    assert (done.returncode, document["error"]["kind"]) == (3, "configuration")
    assert "OPENAI_API_KEY" in document["error"]["message"]
