"""Agent calls per second on one core, beside the official `openai` client on the same mock service in the same run.

The client is pinned to one processor and the mock to the others; peers alternate (ABBA), each round gives a ratio and
the median counts. If the mock could not answer half as many again as we ask, the run is void. Rates are per second of
processor time: on one saturated core that is wall time without what the neighbours of a shared machine take. The
report says which share of the wall time that was (`busy`).

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

sys.path.insert(0, str(Path(__file__).parent))

from _server import TEXT, WORDS, MockServer

CALLS = 2000
PEER_CALLS = 400
CONCURRENCY = 100
ROUNDS = 5
KEY = "sk-bench-0000000000000000"

PLAIN = """
local items = {}
for i = 1, %d do items[i] = i end
local agent = Agent.create{name = "bench", model = "openai/bench", memory_enabled = false}
local done = Async.map(items, function(i) return #agent:execute("question " .. i).text end, {max_concurrency = %d})
local size = 0
for i = 1, #done do size = size + done[i] end
return size
"""

STREAMED = """
local agent = Agent.create{name = "bench", model = "openai/bench", memory_enabled = false}
local events = 0
for _ = 1, %d do
  for chunk in agent:stream("go") do events = events + 1 end
end
return events
"""


class Watch:
    """Processor time since it was made; `busy` collects the share of wall time that it was."""

    busy: list[float] = []  # noqa: RUF012 - one list for the whole report

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        cpu = time.process_time() - self._cpu
        self.busy.append(cpu / (time.perf_counter() - self._wall))
        return cpu


def _run_spell(url: str, source: str) -> tuple[float, object]:
    """Run a spell in a fresh interpreter; return its seconds without the start, and its value."""
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
            seconds = watch.seconds()
            await interpreter.close()
            await app.close()
            if outcome.error is not None:
                raise outcome.error
            return seconds, outcome.value

        return uvloop.run(go())


def llmspell_calls(url: str) -> float:
    """Return agent calls per second of one spell."""
    seconds, size = _run_spell(url, PLAIN % (CALLS, CONCURRENCY))
    assert size == CALLS * len(TEXT), size
    return CALLS / seconds


def llmspell_events(url: str) -> float:
    """Return stream chunks per second of one spell, one stream after the other."""
    seconds, events = _run_spell(url, STREAMED % 10)
    return events / seconds


async def _workers(calls: int, one) -> float:
    numbers = iter(range(calls))

    async def worker() -> None:
        for _ in numbers:
            await one()

    watch = Watch()
    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return calls / watch.seconds()


def openai_calls(url: str) -> float:
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


def openai_events(url: str) -> float:
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
            return events / watch.seconds()

    return uvloop.run(go())


def bare_calls(url: str) -> float:
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


def compare(ours, theirs, url: str, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return the figures of both, measured in alternating order."""
    measured: dict[str, list[float]] = {"llmspell": [], "peer": []}
    ours(url)
    theirs(url)
    for number in range(rounds):
        order = [("llmspell", ours), ("peer", theirs)]
        for name, measure in order if number % 2 == 0 else reversed(order):
            gc.collect()
            measured[name].append(measure(url))
    return measured


def _ratio(measured: dict[str, list[float]]) -> float:
    pairs = zip(measured["llmspell"], measured["peer"], strict=True)
    return statistics.median(ours / theirs for ours, theirs in pairs)


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
            return {"llmspell": llmspell_calls, "openai": openai_calls, "aiohttp": bare_calls}[peer](url)

    track_calls_per_second.unit = unit


class AgentRatio:
    """Our agent calls over the official client's calls, measured in alternation."""

    timeout = 600

    def track_over_openai(self):
        with service() as url:
            return _ratio(compare(llmspell_calls, openai_calls, url))

    track_over_openai.unit = "times"


class StreamRatio:
    """Our stream chunks per second over the official client's."""

    timeout = 600

    def track_over_openai(self):
        with service() as url:
            return _ratio(compare(llmspell_events, openai_events, url, 3))

    track_over_openai.unit = "times"


def main(rounds: int) -> None:
    """Write one report."""
    import aiohttp
    import openai

    with service() as url:
        bare = max(bare_calls(url) for _ in range(2))
        most = max(ceiling(url) for _ in range(3))
        calls = compare(llmspell_calls, openai_calls, url, rounds)
        events = compare(llmspell_events, openai_events, url, min(3, rounds))
    report = {
        "versions": {"openai": openai.__version__, "aiohttp": aiohttp.__version__, "python": sys.version.split()[0]},
        "mock_ceiling_per_s": round(most),
        "bare_aiohttp_per_s": round(bare),
        "calls_per_s": {name: [round(value) for value in values] for name, values in calls.items()},
        "calls_ratio": round(_ratio(calls), 2),
        "events_per_s": {name: [round(value) for value in values] for name, values in events.items()},
        "events_ratio": round(_ratio(events), 2),
        "busy": round(statistics.median(Watch.busy), 2),
        "void": most < 1.5 * max(calls["llmspell"]),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
