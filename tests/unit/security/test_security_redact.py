from __future__ import annotations

import time

import pytest

from llmspell.base.secret_names import is_secret_name
from llmspell.security import Redactor

SECRETS = [
    "sk-abcdefghijklmnopqrstuv",
    "sk-proj-abcdefghijklmnopqrstuv",
    "sk-ant-api03-abcdefghijklmnopqrstuv",
    "sk-or-v1-abcdefghijklmnopqrstuv",
    "gsk_abcdefghijklmnopqrstuvwx",
    "xai-abcdefghijklmnopqrstuvwx",
    "AIzaSyA-abcdefghijklmnopqrstuvwxyz012345",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "gho_abcdefghijklmnopqrstuvwxyz0123456789",
    "ghs_abcdefghijklmnopqrstuvwxyz0123456789",
    "ghu_abcdefghijklmnopqrstuvwxyz0123456789",
    "github_pat_11ABCDEFG0123456789_abcdefghij",
    "glpat-abcdefghijklmnopqrst",
    "xoxb-123456789012-abcdefghij",
    "hf_abcdefghijklmnopqrstuvwxyz",
    "npm_abcdefghijklmnopqrstuvwxyz0123456789",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4",
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nMIIEow\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_known_shape_is_replaced_and_the_rest_kept(secret):
    text = Redactor().redact(f"before {secret} after")
    assert text.startswith("before [REDACTED:")
    assert text.endswith("] after")
    assert secret[-10:] not in text


@pytest.mark.parametrize(
    ("text", "secret", "kept"),
    [
        ("postgres://user:hunter22@host/db", "hunter22", "@host/db"),
        ("Authorization: Bearer abcdefgh12345", "abcdefgh12345", "Authorization: Bearer"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz", "Authorization"),
        ("db_password=correct-horse retries=3", "correct-horse", "retries=3"),
        ('{"apiKey": "abcdefgh1234", "n": 1}', "abcdefgh1234", '"n": 1'),
        ("client-secret: zyxwvuts9876", "zyxwvuts9876", "client-secret"),
        ("curl --api-key=zyxwvuts9876 -v", "zyxwvuts9876", "-v"),
        ("max_tokens=12345678 token=zyxwvuts9876", "zyxwvuts9876", "max_tokens=12345678 token="),
        ("connection_string='Server=zyxwvuts'", "Server=zyxwvuts", "connection_string"),
        ("DB_PASSWORD=zyxwvuts9876 API_KEY=zyxwvuts9876", "zyxwvuts", "API_KEY="),
    ],
)
def test_a_secret_in_its_context_is_replaced(text, secret, kept):
    redacted = Redactor().redact(text)
    assert secret not in redacted
    assert kept in redacted
    assert "[REDACTED:" in redacted


@pytest.mark.parametrize(
    "text",
    [
        "author=somebody_long",
        "token_count=12345678",
        "max_tokens: 100000000",
        "tokenizer=cl100k_base",
        "task-list-of-mine",
    ],
)
def test_harmless_text_is_unchanged(text):
    assert Redactor().redact(text) == text


def test_equal_secrets_compare_equal_in_one_store_and_not_across():
    one, two = Redactor(), Redactor()
    assert one.redact(SECRETS[0]) == one.redact(SECRETS[0])
    assert one.redact(SECRETS[0]) != two.redact(SECRETS[0])


def test_announced_values_are_replaced_wherever_they_are():
    redactor = Redactor()
    redactor.add_secret("my plain canary")
    assert "canary" not in redactor.redact("x my plain canary y")


def test_data_loses_fields_by_name_and_text_by_shape():
    value = {"password": "x", "list": [{"apiKey": 7, "note": SECRETS[0]}], "max_tokens": 3, "credentials": {"a": ["q"]}}
    redacted = Redactor().redact_value(value)
    assert redacted["max_tokens"] == 3
    assert redacted["password"].startswith("[REDACTED:")
    assert redacted["list"][0]["apiKey"].startswith("[REDACTED:")
    assert redacted["list"][0]["note"].startswith("[REDACTED:")
    assert redacted["credentials"]["a"][0].startswith("[REDACTED:")
    assert value["password"] == "x"


def test_data_that_holds_itself_ends():
    value: dict = {}
    value["self"] = value
    assert Redactor().redact_value(value)


@pytest.mark.parametrize(
    "unit",
    ["sk-", "eyJ", "eyJaaaa.", "-----BEGIN PRIVATE KEY-----", "://a:", "token=a ", "a_", "bearer ", "key: ", "x="],
)
def test_the_cost_is_linear_on_hostile_text(unit):
    redactor = Redactor()

    def cost(size):
        text = unit * (size // len(unit))
        start = time.perf_counter()
        redactor.redact(text)
        return time.perf_counter() - start

    small = min(cost(50_000) for _ in range(3))
    large = min(cost(400_000) for _ in range(2))
    assert large < 40 * max(small, 0.0005)


@pytest.mark.parametrize(
    "name",
    ["password", "db_password", "apiKey", "X-API-Key", "OPENAI_API_KEY", "client_secret", "accessToken", "cookie"],
)
def test_secret_names_are_known(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["author", "token_count", "max_tokens", "tokenizer", "authority", "key", "monkey", ""])
def test_harmless_names_are_not_secret(name):
    assert not is_secret_name(name)
