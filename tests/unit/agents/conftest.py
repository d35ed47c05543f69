import pytest

from llmspell.agents import Agents
from llmspell.base.effects import Direct
from llmspell.config.model import Config
from llmspell.metrics import Metrics
from llmspell.providers import Providers
from llmspell.tools import Tools


class Store(dict):
    """The four methods of the state store that agents use."""

    def load(self, scope, key, default=None):
        return self.get((scope, key), default)

    def save(self, scope, key, value):
        self[scope, key] = value

    def delete(self, scope, key):
        return self.pop((scope, key), None) is not None

    def get_all(self, scope):
        return {key: value for (where, key), value in self.items() if where == scope}


@pytest.fixture
def config():
    return Config()


@pytest.fixture
def tools(config):
    return Tools(config.tools, security=None, http=None, state=None, effects=Direct())


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def providers(config):
    return Providers(config.providers, effects=Direct())


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def agents(providers, tools, store, metrics):
    made = Agents(providers, tools, state=lambda: store, metrics=metrics)
    yield made
    made.close()


def step(coroutine):
    """Run a coroutine that must not wait: no event loop is there."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the coroutine waited")


@pytest.fixture
def now():
    return step


def async_fn(fn):
    """Make a plain function look like a function from Lua."""

    async def call(*args):
        return fn(*args)

    return call


@pytest.fixture
def lua():
    return async_fn
