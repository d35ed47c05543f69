"""Every bundled profile, and the provider it names, keeps the contract."""

import json

import msgspec
import pytest

from llmspell.base.effects import Direct
from llmspell.base.types import Message, ToolCall
from llmspell.config.model import Provider as Settings
from llmspell.config.model import Providers as Section
from llmspell.providers import ModelRequest, Providers, ToolSchema
from llmspell.providers._profiles import profiles
from llmspell.providers._service import registry

NAMES = sorted(profiles())
KEY = "sk-conformance-0123456789"
REQUEST = ModelRequest(
    model="m",
    messages=[
        Message(role="system", content="s"),
        Message(role="user", content="u"),
        Message(role="assistant", content="a", tool_calls=[ToolCall(id="c1", name="x.y", arguments={"k": "v"})]),
        Message(role="tool", content="r", tool_call_id="c1", name="x.y"),
        Message(role="user", content="again"),
    ],
    tools=[ToolSchema(name="x.y", parameters={"type": "object", "properties": {"k": {"type": "string"}}})],
    temperature=0.1, top_p=0.9, top_k=5, max_tokens=7, stop=["z"], seed=1, presence_penalty=0.1,
    frequency_penalty=0.1, user="u",
)  # fmt: skip


def built(name):
    settings = Settings(api_key=KEY, base_url="http://127.0.0.1:9/v1", default_model="m")
    providers = Providers(Section(defined={name: settings}), effects=Direct())
    providers.prepare(None, name)
    return next(iter(providers._built.values()))


def test_every_profile_names_a_provider_file_and_every_file_has_a_profile():
    assert {profile.dialect for profile in profiles().values()} == set(registry.names(outside=False))


@pytest.mark.parametrize("name", NAMES)
def test_building_makes_no_connection_and_has_the_whole_contract(name):
    provider = built(name)
    for member in ("capabilities", "render", "complete", "stream", "embed", "list_models"):
        assert callable(getattr(provider, member))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stream", [False, True])
def test_rendering_is_pure_json_and_leaves_the_request_alone(name, stream):
    provider = built(name)
    before = msgspec.json.encode(REQUEST)
    first, second = provider.render(REQUEST, stream=stream), provider.render(REQUEST, stream=stream)
    assert first.body == second.body
    assert json.loads(first.body)
    assert KEY not in first.url + first.body.decode() + repr(first)
    assert msgspec.json.encode(REQUEST) == before


@pytest.mark.parametrize("name", [name for name in NAMES if not profiles()[name].builtin])
def test_every_parameter_is_sent_or_reported_as_dropped(name):
    rendered = built(name).render(REQUEST)
    body = json.loads(rendered.body)
    sent = {*body, *body.get("options", {}), *(["user"] if "metadata" in body else [])}
    for parameter in ("top_k", "seed", "presence_penalty", "frequency_penalty", "user", "tools"):
        theirs = profiles()[name].parameter_map.get(parameter, parameter)
        assert (theirs in sent) != (parameter in rendered.dropped), parameter


@pytest.mark.parametrize("name", NAMES)
def test_capabilities_follow_the_profile(name):
    capabilities = built(name).capabilities("m")
    assert "text" in capabilities.media_types
    assert capabilities.multimodal == (len(capabilities.media_types) > 1)
    assert capabilities.tools == profiles()[name].tools


@pytest.mark.parametrize("name", NAMES)
def test_names_and_aliases_are_claimed_once(name):
    others = [item for key, item in profiles().items() if key != name]
    claimed = {alias for item in others for alias in [item.name, *item.aliases]}
    assert not claimed & {name, *profiles()[name].aliases}
