"""What loading starts from and ends with: the files that take part, and the tree with its origins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from llmspell.config.env import provider_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmspell.config.model import Config
    from llmspell.config.origin import Origin


class Loaded(NamedTuple):
    """The tree, where each stated key comes from (layer word, file, line), and sentences worth a look."""

    config: Config
    origin: dict[str, Origin]
    warnings: tuple[str, ...]


class Found(NamedTuple):
    """The files that take part."""

    system: str | None
    home: str | None
    project: str | None
    explicit: str | None

    @property
    def project_folder(self) -> str | None:
        """Folder of the project: that of the file, without its `config/` or `.config/`."""
        if self.project is None:
            return None
        folder, name = os.path.split(os.path.dirname(self.project))
        return folder if name in ("config", ".config") else os.path.dirname(self.project)


def with_keys(config: Config, environ: Mapping[str, str]) -> Config:
    """Return `config` with the providers whose keys the environment holds and that no layer defines."""
    found = provider_keys(environ)
    known = {(entry.provider_type or name).replace("_", "-") for name, entry in config.providers.defined.items()}
    missing = {name: variable for name, variable in found.items() if name not in known}
    if not missing:
        return config
    from msgspec.structs import replace

    from llmspell.config.model import Provider

    entries = {name: Provider(api_key_env=variable) for name, variable in missing.items()}
    defined = dict(sorted({**config.providers.defined, **entries}.items()))
    return replace(config, providers=replace(config.providers, defined=defined))
