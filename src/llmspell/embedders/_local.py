"""What embedders of local directories share: the directory, its files, its tokenizer. Nothing is ever downloaded."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np
from blake3 import blake3

from llmspell.base.offload import offload
from llmspell.embedders._base import Options, Spent, check_texts, not_configured, unit
from llmspell.errors import ConfigurationError, LLMSpellError

if TYPE_CHECKING:
    from llmspell.embedders._base import Vectors

TOKENIZER = "tokenizer.json"
BATCH = 256


class LocalEmbedder(ABC):
    """A model in a directory that the user names. A kind states its packages and files, `load` and `vectors`.

    packages: import names; extra: of llmspell, which brings them. files: groups, of each of which one must be there.
    """

    name: str
    model = None
    tells_queries = False
    packages: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]
    files: ClassVar[tuple[tuple[str, ...], ...]]
    max_tokens: int | None = None

    def __init__(self, options: Options) -> None:
        folder = options.section.directory
        if not folder or not options.own:
            key = "rag.embedding.directory" if options.own else "rag.embedding.default_provider and directory"
            raise not_configured(self.name, "the directory of a model", key)
        self.folder = Path(folder).expanduser()
        self.chosen = [self._file(group) for group in self.files]
        for package in self.packages:
            if find_spec(package) is None:
                raise ConfigurationError(
                    f"the embedder {self.name!r} needs the package {package}: pip install 'llmspell[{self.extra}]'",
                    code="missing_extra",
                    details={"package": package, "extra": self.extra},
                )
        self._wish = options.dimensions
        self._lock = threading.Lock()  # protects the model, which is loaded once
        self._model: Loaded | None = None

    @classmethod
    def available(cls, options: Options) -> bool:
        """Tell whether directory, files and packages are there."""
        try:
            cls(options)
        except ConfigurationError:
            return False
        return True

    def _file(self, group: tuple[str, ...]) -> Path:
        for name in group:
            if (self.folder / name).is_file():
                return self.folder / name
        raise ConfigurationError(
            f"the embedder {self.name!r} finds no {' or '.join(group)} in {self.folder}: set "
            "rag.embedding.directory to the folder of a model",
            code="not_found",
            details={"key": "rag.embedding.directory", "path": str(self.folder)},
        )

    @abstractmethod
    def load(self) -> Loaded:
        """Return the model. Raises ConfigurationError for files that are none."""

    def _loaded(self) -> Loaded:
        with self._lock:
            if self._model is None:
                made = self.load()
                if self._wish not in (None, made.dim):
                    raise ConfigurationError(
                        f"the model in {self.folder} gives vectors of {made.dim} dimensions, not {self._wish}: set "
                        f"rag.embedding.dimensions = {made.dim}, or leave it out",
                        details={"key": "rag.embedding.dimensions", "expected": made.dim, "got": self._wish},
                    )
                self._model = made
            return self._model

    @property
    def dim(self) -> int:
        """Length of a vector; loads the model."""
        return self._loaded().dim

    @property
    def id(self) -> str:
        """Name the content of the model's files; loads the model."""
        return f"{self.name}:{self._loaded().digest}:{self.dim}"

    async def embed(self, texts: Sequence[str], *, query: bool = False, spent: Spent | None = None) -> Vectors:
        """Return float32 of shape (n, dim). Raises ConfigurationError, InvalidArgument."""
        check_texts(texts)
        return await offload(self._embed, list(texts), Spent() if spent is None else spent)

    def _embed(self, texts: list[str], spent: Spent) -> Vectors:
        model = self._loaded()
        blocks = []
        for start in range(0, len(texts), BATCH):
            block = texts[start : start + BATCH]
            rows, tokens = model.vectors(block)
            blocks.append(unit(rows, count=len(block), dim=model.dim, who=self.name))
            spent.add(Spent(embedded=len(block), tokens=tokens))
        return np.concatenate(blocks) if blocks else np.zeros((0, model.dim), np.float32)

    def bad(self, path: Path, reason: str) -> LLMSpellError:
        """Return the error of a file that is not what its name says."""
        return ConfigurationError(
            f"the embedder {self.name!r} cannot use {path}: {reason}",
            code="malformed",
            details={"key": "rag.embedding.directory", "path": str(path)},
        )

    def digest(self, *more: Path) -> str:
        """Return a digest of the model's files, so that another model is another embedder."""
        hasher = blake3()
        for path in (*self.chosen, *more):
            hasher.update_mmap(path)
        return hasher.hexdigest()[:16]

    def settings(self, name: str) -> dict[str, Any]:
        """Return a JSON file of the directory, empty where there is none."""
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            raise self.bad(path, str(error)) from error

    def tokenizer(self, max_tokens: int | None) -> Any:
        """Return the tokenizer, without padding. Source: the format of the package tokenizers."""
        from tokenizers import Tokenizer

        path = self.folder / TOKENIZER
        try:
            made = Tokenizer.from_file(str(path))
        except Exception as error:
            raise self.bad(path, str(error)) from error
        made.no_padding()
        if max_tokens is None:
            made.no_truncation()
        else:
            made.enable_truncation(max_tokens)
        return made


class Loaded(msgspec.Struct, frozen=True):
    """A model in memory. vectors: of texts, with the number of tokens that were read."""

    dim: int
    digest: str
    vectors: Callable[[list[str]], tuple[Any, int]]
