"""Agent calls per second on one core, beside the official `openai` client on the same mock service in the same run.

The client is pinned to one processor and the mock to the others; peers alternate (ABBA), each round gives a ratio and
the median counts. If the mock could not answer half as many again as we ask, the run is void, and the report says so.
Every rate is given per second of wall clock and per second of the client's processor time: on a quiet machine the two
are nearly one, on a shared one the second is what is left when the neighbours are gone. `busy` is their quotient.

    python asv_bench/benchmarks/agents.py [rounds]
"""

import asyncio
import contextlib
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from _server import CHUNKS, TEXT, WORDS, MockServer

CALLS = 2000
PEER_CALLS = 400
CONCURRENCY = 100
ROUNDS = 5
STREAMS = 20
CONTROLS = 3  # chunks of a stream that hold no text: its start, the usage, its end
KEY = "sk-bench-0000000000000000"

PLAIN = """
local items = {}
for i = 1, %d do items[i] = i end
local agent = Agent.create{name = "bench", model = "openai/bench", memory_enabled = false}
local done = Async.map(items, function(i)
  assert(#agent:execute("question " .. i).text == %d)
  return 1
end, {max_concurrency = %d})
return #done
"""

STREAMED = """
local agent = Agent.create{name = "bench", model = "openai/bench", memory_enabled = false}
local events = 0
for _ = 1, %d do
  for chunk in agent:stream("go") do events = events + 1 end
end
return events
"""


class Rate(NamedTuple):
    """How many per second of wall clock, and of processor time."""

    wall: float
    cpu: float


class Watch:
    """Both clocks since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def rate(self, count: int) -> Rate:
        return Rate(count / (time.perf_counter() - self._wall), count / (time.process_time() - self._cpu))


def _run_spell(url: str, source: str, expected: int) -> Rate:
    """Run a spell that returns what it counted in a fresh interpreter; the start is not measured."""
    import uvloop

    from llmspell.app import App
    from llmspell.config.model import Config, Provider, Providers
    from llmspell.lua.engine import Interpreter

    config = Config(providers=Providers(defined={"openai": Provider(base_url=url, api_key=KEY)}, proxy="none"))
    with tempfile.TemporaryDirectory() as home:

        async def go():
            app = App(config, home=Path(home))
            interpreter = Interpreter(app, profile="safe")
            watch = Watch()
            outcome = interpreter.begin(source, "=bench") or await interpreter.finish()
            rate = watch.rate(expected)
            await interpreter.close()
            await app.close()
            if outcome.error is not None:
                raise outcome.error
            assert outcome.value == expected, outcome.value
            return rate

        return uvloop.run(go())


def llmspell_calls(url: str) -> Rate:
    """Return agent calls per second of one spell."""
    return _run_spell(url, PLAIN % (CALLS, len(TEXT), CONCURRENCY), CALLS)


def llmspell_events(url: str) -> Rate:
    """Return stream chunks per second of one spell, one stream after the other."""
    return _run_spell(url, STREAMED % STREAMS, STREAMS * (CHUNKS + CONTROLS))


async def _workers(calls: int, one) -> Rate:
    numbers = iter(range(calls))

    async def worker() -> None:
        for _ in numbers:
            await one()

    watch = Watch()
    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return watch.rate(calls)


def openai_calls(url: str) -> Rate:
    """Return chat completions per second of the official client, after a warm-up."""
    import openai
    import uvloop

    async def go():
        limits = openai.DEFAULT_CONNECTION_LIMITS
        async with openai.AsyncOpenAI(
            base_url=url, api_key=KEY, http_client=openai.DefaultAsyncHttpxClient(limits=limits)
        ) as client:

            async def one() -> None:
                messages = [{"role": "user", "content": "question"}]
                answer = await client.chat.completions.create(model="bench", messages=messages)
                assert answer.usage.completion_tokens == WORDS

            await _workers(CONCURRENCY, one)
            return await _workers(PEER_CALLS, one)

    return uvloop.run(go())


def openai_events(url: str) -> Rate:
    """Return stream chunks per second of the official client, one stream after the other."""
    import openai
    import uvloop

    async def go():
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY) as client:
            events = 0
            watch = Watch()
            for _ in range(4):
                messages = [{"role": "user", "content": "go"}]
                stream = await client.chat.completions.create(model="bench", messages=messages, stream=True)
                async for _ in stream:
                    events += 1
            return watch.rate(events)

    return uvloop.run(go())


def bare_calls(url: str) -> Rate:
    """Return exchanges per second of bare aiohttp: what the mock gives at least."""
    import aiohttp
    import uvloop

    body = json.dumps({"model": "bench", "messages": [{"role": "user", "content": "question"}]}).encode()

    async def go():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one() -> None:
                async with session.post(f"{url}/chat/completions", data=body) as answer:
                    await answer.read()

            await _workers(CONCURRENCY, one)
            return await _workers(CALLS, one)

    return uvloop.run(go())


def ceiling(url: str) -> float:
    """Return how many answers per second the mock gives when requests are waiting in its socket."""
    import socket
    import threading

    host, port = url.split("/")[2].split(":")
    body = b'{"model":"bench","messages":[]}'
    request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(request)
        size = len(connection.recv(65536))
        started = time.perf_counter()
        sender = threading.Thread(target=connection.sendall, args=(request * CALLS,))
        sender.start()
        left = size * CALLS
        while left > 0:
            left -= len(connection.recv(1 << 20))
        sender.join()
        return CALLS / (time.perf_counter() - started)


@contextlib.contextmanager
def service():
    """Pin this process to one processor, serve from the others, and undo it."""
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    others = cpus - {min(cpus)} if len(cpus) > 1 else set()
    with MockServer(others) as url:
        try:
            if others:
                os.sched_setaffinity(0, {min(cpus)})
            yield url
        finally:
            if others:
                os.sched_setaffinity(0, cpus)


def compare(ours, theirs, url: str, rounds: int = ROUNDS) -> dict[str, list[Rate]]:
    """Return the figures of both, measured in alternating order."""
    measured: dict[str, list[Rate]] = {"llmspell": [], "peer": []}
    ours(url)
    theirs(url)
    for number in range(rounds):
        order = [("llmspell", ours), ("peer", theirs)]
        for name, measure in order if number % 2 == 0 else reversed(order):
            gc.collect()
            measured[name].append(measure(url))
    return measured


def _ratios(measured: dict[str, list[Rate]], clock: str = "wall") -> list[float]:
    pairs = zip(measured["llmspell"], measured["peer"], strict=True)
    return [getattr(ours, clock) / getattr(theirs, clock) for ours, theirs in pairs]


def _summary(measured: dict[str, list[Rate]]) -> dict[str, object]:
    """Return rates and ratios of every round, by both clocks."""
    out: dict[str, object] = {}
    for clock in ("wall", "cpu"):
        ratios = _ratios(measured, clock)
        out[clock] = {name: [round(getattr(rate, clock)) for rate in rates] for name, rates in measured.items()}
        out[f"ratio_{clock}"] = {
            "median": round(statistics.median(ratios), 2),
            "lowest": round(min(ratios), 2),
            "rounds": [round(ratio, 2) for ratio in ratios],
        }
    every = [rate for rates in measured.values() for rate in rates]
    out["busy"] = round(statistics.median(rate.wall / rate.cpu for rate in every), 2)
    out["llmspell_cpu_us_each"] = round(1e6 / statistics.median(rate.cpu for rate in measured["llmspell"]), 1)
    return out


class AgentCalls:
    """Agent calls per second: 200-token answers, 100 in flight, one core."""

    timeout = 300
    params = ("llmspell", "openai", "aiohttp")
    param_names = ("peer",)
    unit = "calls/s"

    def track_calls_per_second(self, peer):
        if peer == "openai":
            try:
                import openai  # noqa: F401 - asked for before the service starts
            except ImportError as error:
                raise NotImplementedError from error
        with service() as url:
            return {"llmspell": llmspell_calls, "openai": openai_calls, "aiohttp": bare_calls}[peer](url).wall

    track_calls_per_second.unit = unit


class AgentRatio:
    """Our agent calls over the official client's calls, measured in alternation."""

    timeout = 600

    def track_over_openai(self):
        with service() as url:
            return statistics.median(_ratios(compare(llmspell_calls, openai_calls, url)))

    track_over_openai.unit = "times"


class StreamRatio:
    """Our stream chunks per second over the official client's."""

    timeout = 600

    def track_over_openai(self):
        with service() as url:
            return statistics.median(_ratios(compare(llmspell_events, openai_events, url, 3)))

    track_over_openai.unit = "times"


def main(rounds: int) -> None:
    """Write one report."""
    import aiohttp
    import openai

    with service() as url:
        bare = max(bare_calls(url).wall for _ in range(2))
        most = max(ceiling(url) for _ in range(3))
        calls = compare(llmspell_calls, openai_calls, url, rounds)
        events = compare(llmspell_events, openai_events, url, rounds)
    fastest = max(rate.wall for rate in calls["llmspell"])
    report = {
        "versions": {"openai": openai.__version__, "aiohttp": aiohttp.__version__, "python": sys.version.split()[0]},
        "mock_ceiling_per_s": round(most),
        "bare_aiohttp_per_s": round(bare),
        "mock_used": round(fastest / most, 2),
        "void": most < 1.5 * fastest,
        "calls_per_s": _summary(calls),
        "events_per_s": _summary(events),
    }
    if report["void"]:
        sys.stderr.write(f"void: the mock gives {most:.0f} answers/s, too few for {fastest:.0f} calls/s\n")
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
