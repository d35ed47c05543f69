"""`static`: one vector per token, averaged. Source: files of model2vec and sentence-transformers' StaticEmbedding.

The directory holds `tokenizer.json` and the matrix: `model.safetensors` (tensor `embeddings` or `embedding.weight`;
`weights` and `mapping` beside it are used) or `embeddings.npy`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from llmspell.embedders._local import TOKENIZER, Loaded, LocalEmbedder

DIMENSIONS = None
MODELS: dict[str, int] = {}
MATRICES = ("embeddings", "embedding.weight")
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "<i1", "I32": "<i4", "I64": "<i8"}
_MAX_HEADER = 100_000_000


class _Tensor(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class Embedder(LocalEmbedder):
    """See the module."""

    name = "static"
    packages = ("tokenizers",)
    extra = "static"
    files = ((TOKENIZER,), ("model.safetensors", "embeddings.npy"))

    def load(self) -> Loaded:
        """Return the model. Raises ConfigurationError for files that are none."""
        path = self.chosen[1]
        tensors = self._safetensors(path) if path.suffix == ".safetensors" else {"embeddings": self._npy(path)}
        matrix = next((tensors[name] for name in MATRICES if name in tensors), None)
        if matrix is None or matrix.ndim != 2 or not matrix.size:
            raise self.bad(path, f"it holds no matrix named {' or '.join(MATRICES)}")
        tokenizer = self.tokenizer(None)
        mapping, weights = tensors.get("mapping"), tensors.get("weights")
        if any(extra is not None and (extra.ndim != 1 or not extra.size) for extra in (mapping, weights)):
            raise self.bad(path, "its mapping or weights are no list of numbers")
        if mapping is not None and mapping.dtype.kind != "i":
            raise self.bad(path, "its mapping is no list of whole numbers")
        size = matrix.shape[0] if mapping is None else mapping.shape[0]
        if tokenizer.get_vocab_size() > size or (weights is not None and weights.shape[0] < size):
            raise self.bad(path, f"{tokenizer.get_vocab_size()} tokens of the tokenizer have {size} rows")
        if mapping is not None and not (int(mapping.min()) >= 0 and int(mapping.max()) < matrix.shape[0]):
            raise self.bad(path, "its mapping names rows that are not there")
        unknown = tokenizer.token_to_id(_unknown(self.settings(TOKENIZER)))
        rest = np.zeros(matrix.shape[1], np.float32)
        rest[0] = 1

        def vector(ids: list[int]) -> Any:
            kept = np.array([number for number in ids if number != unknown], np.int64)
            if not kept.size:
                return rest
            rows = matrix[kept if mapping is None else mapping[kept]].astype(np.float32)
            if weights is not None:
                rows *= weights[kept].astype(np.float32)[:, None]
            mean = rows.mean(axis=0)
            return mean if mean.any() else rest

        def vectors(texts: list[str]) -> tuple[Any, int]:
            encoded = [item.ids for item in tokenizer.encode_batch(texts, add_special_tokens=False)]
            return np.stack([vector(ids) for ids in encoded]), sum(map(len, encoded))

        return Loaded(int(matrix.shape[1]), self.digest(), vectors)

    def _npy(self, path: Path) -> Any:
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise self.bad(path, str(error)) from error

    def _safetensors(self, path: Path) -> dict[str, Any]:
        """Return the tensors of a file, mapped. Source: github.com/huggingface/safetensors, "Format"."""
        try:
            raw = np.memmap(path, np.uint8, mode="r")
            length = int(raw[:8].view("<u8")[0])
            if length > min(_MAX_HEADER, raw.size - 8):
                raise self.bad(path, "its header is longer than the file")
            header = msgspec.json.decode(raw[8 : 8 + length].tobytes(), type=dict[str, Any])
            header.pop("__metadata__", None)
            found = {name: msgspec.convert(item, _Tensor) for name, item in header.items()}
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, IndexError, OSError) as error:
            raise self.bad(path, str(error)) from error
        return {name: self._tensor(path, raw[8 + length :], item) for name, item in found.items()}

    def _tensor(self, path: Path, data: Any, item: _Tensor) -> Any:
        begin, end = item.data_offsets
        kind = np.dtype(_TYPES.get(item.dtype, "V1"))
        count = 1
        for side in item.shape:
            count *= side
        fits = 0 <= begin <= end <= data.size and min(item.shape, default=1) >= 0
        if item.dtype not in _TYPES or not fits or count * kind.itemsize != end - begin:
            raise self.bad(path, f"a tensor of type {item.dtype} and shape {item.shape} does not fit its bytes")
        return np.ndarray(item.shape, kind, buffer=data, offset=begin)


def _unknown(tokenizer: dict[str, Any]) -> str:
    model = tokenizer.get("model")
    return str((model or {}).get("unk_token") or "[UNK]") if isinstance(model, dict | None) else "[UNK]"
