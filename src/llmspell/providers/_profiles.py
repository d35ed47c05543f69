"""Profiles: what a provider is, as data. One TOML file per service; code asks these flags and never a name."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from llmspell.base.registry import canonical
from llmspell.errors import ConfigurationError
from llmspell.providers._base import Capabilities


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of the models matching one pattern; None and empty leave the profile's word."""

    context: int | None = None
    output: int | None = None
    media: list[str] | None = None
    tools: bool | None = None
    drop: list[str] = []


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service.

    dialect: name of the provider file. auth: `bearer` or `header:<name>`. prefixes: starts of model names that mean
    this service. parameter_map: our name to theirs. drop: parameters it refuses; keep: optional ones it takes.
    structured: how an output schema is asked for. slashes: its model names may hold slashes. free: costs nothing.
    stream_usage: usage in streams must be asked for. required_word: its word for tool_choice `required`.
    """

    name: str
    dialect: str
    aliases: list[str] = []
    base_url: str = ""
    base_url_env: list[str] = []
    key: Literal["required", "optional", "none"] = "required"
    key_env: list[str] = []
    auth: str = "bearer"
    headers: dict[str, str] = {}
    default_model: str | None = None
    prefixes: list[str] = []
    parameter_map: dict[str, str] = {}
    drop: list[str] = []
    keep: list[str] = []
    required_word: str = "required"
    tools: bool = True
    strict_tools: bool = False
    media: list[str] = []
    structured: Literal["native", "tool", "json_mode", "prompt"] = "prompt"
    stream_usage: bool = True
    embeddings: bool = False
    cache_key: bool = False
    max_batch: int = 128
    models_path: str = "/models"
    rate_limit_prefix: str = ""
    first_token_s: float = 60
    max_concurrent: int = 1000
    slashes: bool = False
    free: bool = False
    builtin: bool = False
    context: int | None = None
    output: int | None = None
    models: dict[str, Model] = {}

    def model(self, name: str) -> Model:
        """Return what is known of model `name`: the longest matching pattern."""
        hits = [pattern for pattern in self.models if fnmatchcase(name, pattern)]
        return self.models[max(hits, key=len)] if hits else Model()

    def capabilities(self, name: str) -> Capabilities:
        """Return what model `name` can do."""
        known = self.model(name)
        media = self.media if known.media is None else known.media
        tools = self.tools if known.tools is None else known.tools
        return Capabilities(
            multimodal=bool(media),
            media_types=("text", *media),
            tools=tools,
            parallel_tools=tools,
            structured_output=self.structured == "native",
            embeddings=self.embeddings,
            max_context_tokens=known.context or self.context,
            max_output_tokens=known.output or self.output,
        )


@cache
def profiles() -> dict[str, Profile]:
    """Return the bundled profiles by name."""
    import tomllib

    found = {}
    for path in sorted((Path(__file__).parent / "profiles").glob("*.toml")):
        profile = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Profile)
        found[profile.name] = profile
    return found


@cache
def aliases() -> dict[str, str]:
    """Return further names of bundled profiles."""
    return {alias: profile.name for profile in profiles().values() for alias in profile.aliases}


def find(name: str) -> Profile | None:
    """Return the profile called `name` by name, alias or dialect, or None; `_` and `-` are alike."""
    key = canonical(name.lower())
    key = aliases().get(key, key)
    return profiles().get(key)


def overlay(profile: Profile, models: dict[str, Any], name: str) -> Profile:
    """Return `profile` with the model table of the configuration on top; raises ConfigurationError on a bad entry."""
    if not models:
        return profile
    try:
        own = msgspec.convert(models, dict[str, Model])
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"providers.{name}.models: {error}; each model takes context, output, media, tools, drop",
            details={"key": f"providers.{name}.models"},
        ) from error
    return msgspec.structs.replace(profile, models={**profile.models, **own})
