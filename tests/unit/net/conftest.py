from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bad_server import running

from llmspell.config.model import Network
from llmspell.net import HttpClient


@pytest.fixture
async def server():
    async with running() as server:
        yield server


@pytest.fixture
async def make_client():
    """Make clients under `tools.network` with changes; all are closed at the end."""
    made = []

    def make(resolver=None, offline=False, environ=None, enabled=True, **changes):
        client = HttpClient(Network(**changes), resolver=resolver, offline=offline, environ=environ, enabled=enabled)
        made.append(client)
        return client

    yield make
    for client in made:
        await client.close()


@pytest.fixture
def client(make_client):
    return make_client(allow_loopback=True)
