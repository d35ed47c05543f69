import asyncio
import socket

import pytest

from llmspell.base.clock import monotonic
from llmspell.base.context import Context
from llmspell.errors import LLMSpellError, NetworkError, ProviderError, RateLimitError, SecurityError
from llmspell.errors import TimeoutError as TimedOut
from llmspell.providers import CallOptions
from llmspell.providers._errors import from_status, retry_after_ms
from llmspell.providers._limits import Throttle, seconds

KEY = "sk-test-0123456789abcdef"
OK = {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}


async def failing(providers, ask, **options):
    with pytest.raises(LLMSpellError) as caught:
        await providers.complete("openai/m", ask("x"), options=CallOptions(**options))
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "retryable"),
    [
        (400, {"error": {"message": "bad"}}, "provider", "bad_request", False),
        (422, {"detail": "bad"}, "provider", "bad_request", False),
        (400, {"error": {"message": "x", "code": "context_length_exceeded"}}, "provider", "context_length", False),
        (400, {"error": {"message": "content_filter"}}, "provider", "content_filter", False),
        (401, {"error": {"message": "no"}}, "provider", "auth", False),
        (403, "no", "provider", "auth", False),
        (404, {"error": "model 'x' not found"}, "provider", "model_not_found", False),
        (408, {}, "provider", "unavailable", True),
        (500, b"<html>", "provider", "unavailable", True),
        (529, {}, "provider", "unavailable", True),
        (429, {"error": {"message": "slow"}}, "rate_limit", "rate_limit", True),
        (429, {"error": {"code": "insufficient_quota", "message": "pay"}}, "rate_limit", "quota", False),
        (302, b"", "provider", "bad_request", False),
    ],
)
async def test_every_status_has_its_kind_and_code(service, connect, ask, status, body, kind, code, retryable):
    service.answer(body, status=status)
    error = await failing(connect(max_retries=0), ask)
    assert (error.kind, error.code, error.retryable) == (kind, code, retryable)
    assert error.details["status"] == status
    assert error.component == "provider:openai"


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_what_will_not_get_better_is_asked_once(service, connect, ask, status):
    service.answer({}, status=status)
    await failing(connect(), ask)
    assert len(service.requests) == 1


async def test_an_unavailable_service_is_asked_again_until_it_answers(service, connect, ask):
    service.answer({}, status=503).answer({}, status=500).answer(OK)
    answer = await connect().complete("openai/m", ask("x"))
    assert answer.text == "ok"
    assert [attempt["code"] for attempt in answer.attempts] == ["unavailable", "unavailable"]


async def test_tries_end_after_max_retries_or_what_the_caller_allows(service, connect, ask):
    service.answer({}, status=503)
    error = await failing(connect(max_retries=2), ask)
    assert (len(service.requests), error.details["attempts"]) == (3, 3)
    await failing(connect(max_retries=2), ask, max_attempts=1)
    assert len(service.requests) == 4


async def test_retry_after_is_waited_for(service, connect, ask):
    service.answer({}, status=429, headers={"retry-after-ms": "60"}).answer(OK)
    started = monotonic()
    await connect().complete("openai/m", ask("x"))
    assert 0.06 <= monotonic() - started < 1


async def test_a_retry_after_beyond_the_cap_is_not_waited_for(service, connect, ask):
    service.answer({}, status=429, headers={"retry-after": "3600"})
    started = monotonic()
    error = await failing(connect(), ask)
    assert (error.retry_after_ms, len(service.requests)) == (3_600_000, 1)
    assert monotonic() - started < 1


async def test_throttling_is_not_waited_for_when_auto_retry_is_off(service, connect, ask):
    service.answer({}, status=429, headers={"retry-after-ms": "1"})
    assert isinstance(await failing(connect(rate_limit_auto_retry=False), ask), RateLimitError)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "body", [b"<html>oops</html>", b"{", b"[]", b"", b'{"choices": []}', b'{"choices": [{}]}', b"null"]
)
async def test_an_answer_that_cannot_be_read_is_bad_response_and_retried_once(service, connect, ask, body):
    service.answer(body)
    error = await failing(connect(), ask)
    assert (error.kind, error.code, len(service.requests)) == ("provider", "bad_response", 2)


async def test_bytes_that_are_no_http_are_bad_response(connect, ask):
    async def nonsense(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x00\x01 hello\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    error = await failing(connect(max_retries=0), ask, base_url=url)
    assert error.code == "bad_response"
    server.close()
    await server.wait_closed()


async def test_a_connection_closed_without_an_answer_is_a_network_error_that_says_so(service, connect, ask):
    service.hang_up()
    error = await failing(connect(max_retries=0), ask)
    assert isinstance(error, NetworkError)
    assert "openai/m" in error.message
    assert "closed the connection" in error.message


async def test_a_hang_up_is_retried(service, connect, ask):
    service.hang_up().answer(OK)
    assert (await connect().complete("openai/m", ask("x"))).text == "ok"


async def test_a_refused_connection_is_a_network_error(connect, ask):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    error = await failing(connect(max_retries=0), ask, base_url=f"http://127.0.0.1:{port}")
    assert error.kind == "network"


async def test_plain_http_to_a_public_address_is_refused(connect, ask):
    error = await failing(connect(), ask, base_url="http://93.184.216.34/v1")
    assert error.kind == "security"


async def test_offline_nothing_but_loopback_is_reached(connect, ask):
    error = await failing(connect(environ={"LLMSPELL_OFFLINE": "1"}), ask, base_url="https://10.1.2.3/v1")
    assert (error.kind, error.code) == ("network", "offline")


async def test_a_service_that_does_not_answer_times_out_once_in_phase_total(service, connect, ask):
    service.answer([asyncio.Event()])
    error = await failing(connect(timeout_seconds=0.05), ask)
    assert isinstance(error, TimedOut)
    assert (error.details["phase"], error.retryable, len(service.requests)) == ("total", False, 1)


async def test_the_deadline_of_the_run_bounds_the_call(service, connect, ask):
    service.answer({}, status=503, headers={"retry-after": "5"})
    context = Context(deadline=monotonic() + 0.5)
    with pytest.raises(ProviderError) as caught:
        await connect().complete("openai/m", ask("x"), context)
    assert caught.value.code == "unavailable"
    with pytest.raises(TimedOut):
        await connect().complete("openai/m", ask("x"), Context(deadline=monotonic() - 1))
    assert len(service.requests) == 1


async def test_a_key_echoed_by_the_service_never_appears_in_the_error(service, connect, ask):
    for body in ({"error": {"message": f"Incorrect API key provided: {KEY}", "code": KEY}}, f"bad {KEY}".encode()):
        service.answers.clear()
        service.answer(body, status=401)
        error = await failing(connect(), ask)
        assert KEY not in str(error.to_wire()) + repr(error) + str(error)
    service.answers.clear()
    service.answer(f"{KEY} garbage".encode())
    error = await failing(connect(max_retries=0), ask)
    assert KEY not in str(error.to_wire())


async def test_a_cancelled_call_leaves_the_gate_open(service, connect, ask):
    service.answer([asyncio.Event()]).answer(OK)
    providers = connect()
    task = asyncio.create_task(providers.complete("openai/m", ask("x")))
    await service.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await providers.complete("openai/m", ask("x"))).text == "ok"


def test_retry_after_is_read_as_seconds_date_or_milliseconds():
    assert retry_after_ms({"retry-after": "2"}, 0) == 2000
    assert retry_after_ms({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 4) == 6000
    assert retry_after_ms({"retry-after-ms": "7.5", "retry-after": "9"}, 0) == 7
    assert retry_after_ms({"retry-after": "soon"}, 0) is None


def test_anything_shaped_like_a_key_is_masked():
    error = from_status(400, {}, b'{"error":"key sk-proj-abcdef123456 is bad"}', provider="p", model="m", now=0)
    assert "sk-proj" not in error.message
    assert "[REDACTED]" in error.message


def test_calls_per_minute_make_the_next_call_wait():
    throttle = Throttle(requests_per_minute=60)
    assert all(throttle.take() == 0 for _ in range(60))
    assert 0.9 < throttle.take() <= 1.0


def test_spent_tokens_make_the_next_call_wait():
    throttle = Throttle(tokens_per_minute=600)
    throttle.spend(620)
    assert 1.5 < throttle.take() <= 2.0


def test_headers_that_say_nothing_is_left_hold_calls_back():
    throttle = Throttle()
    throttle.note("x-ratelimit-", {"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "9s"})
    assert throttle.take() == 0
    throttle.note("x-ratelimit-", {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2s"})
    assert 59 < throttle.take() <= 60


@pytest.mark.parametrize(("text", "expected"), [("1.5", 1.5), ("6m0s", 360), ("120ms", 0.12), ("soon", None)])
def test_waits_are_read_in_the_forms_services_use(text, expected):
    assert seconds(text) == expected


async def test_an_untrusted_address_is_judged_by_the_rules_of_tools(service, ask):
    from llmspell.base.effects import Direct
    from llmspell.config.model import Network
    from llmspell.config.model import Providers as Section
    from llmspell.net import HttpClient
    from llmspell.providers import Providers

    service.answer(OK)
    options = CallOptions(base_url=service.url, api_key=KEY, untrusted=True)
    for network, allowed in ((None, False), (Network(), False), (Network(allow_loopback=True), True)):
        client = None if network is None else HttpClient(network)
        providers = Providers(Section(), effects=Direct(), script_http=None if client is None else lambda c=client: c)
        if allowed:
            assert (await providers.complete("openai/m", ask("x"), options=options)).text == "ok"
        else:
            with pytest.raises(SecurityError):
                await providers.complete("openai/m", ask("x"), options=options)
        await providers.close()
        if client is not None:
            await client.close()
    assert len(service.requests) == 1
