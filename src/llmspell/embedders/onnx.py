"""`onnx`: a sentence encoder run by onnxruntime. Source: the files of sentence-transformers with an exported model.

The directory holds `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`. Read where they are there:
`1_Pooling/config.json`, `config_sentence_transformers.json` (prompts), `sentence_bert_config.json`, `config.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmspell.embedders._local import TOKENIZER, Loaded, LocalEmbedder

if TYPE_CHECKING:
    from llmspell.embedders._base import Options, Spent, Vectors

DIMENSIONS = None
MODELS: dict[str, int] = {}
DEFAULT_TOKENS = 512
_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}


class Embedder(LocalEmbedder):
    """See the module. A model with prompts for questions and documents gets them."""

    name = "onnx"
    packages = ("onnxruntime", "tokenizers")
    extra = "onnx"
    files = ((TOKENIZER,), ("model.onnx", "onnx/model.onnx"))

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        prompts = self.settings("config_sentence_transformers.json").get("prompts")
        self._prompts = prompts if isinstance(prompts, dict) else {}
        self.tells_queries = bool(self._prompts.get("query"))

    async def embed(self, texts: Sequence[str], *, query: bool = False, spent: Spent | None = None) -> Vectors:
        """Return float32 of shape (n, dim). Raises ConfigurationError, InvalidArgument."""
        prompt = self._prompts.get("query" if query else "document") or ""
        given = [f"{prompt}{text}" for text in texts] if prompt and not isinstance(texts, str) else texts
        return await super().embed(given, query=query, spent=spent)

    def load(self) -> Loaded:
        """Return the model. Raises ConfigurationError for files that are none."""
        path = self.chosen[1]
        session = self._session(str(path))
        wanted = {node.name for node in session.get_inputs()}
        if not {"input_ids"} <= wanted <= _INPUTS:
            raise self.bad(path, f"its inputs are {sorted(wanted)}, expected input_ids and attention_mask")
        outputs = [node.name for node in session.get_outputs()]
        output = "sentence_embedding" if "sentence_embedding" in outputs else outputs[0]
        tokenizer = self.tokenizer(self._longest())
        first = bool(self.settings("1_Pooling/config.json").get("pooling_mode_cls_token"))

        def vectors(texts: list[str]) -> tuple[Any, int]:
            encoded = [item.ids for item in tokenizer.encode_batch(texts)]
            rows = np.stack([row for start in range(0, len(encoded), 32) for row in batch(encoded[start : start + 32])])
            return rows, sum(map(len, encoded))

        def batch(encoded: list[list[int]]) -> Any:
            ids, mask = padded(encoded)
            given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            states = self._run(session, output, {name: given[name] for name in wanted})
            return states if states.ndim == 2 else states[:, 0] if first else mean(states, mask)

        dim = int(vectors(["a"])[0].shape[1])
        beside = sorted(item for item in path.parent.glob("*.onnx_data") if item.is_file())
        return Loaded(dim, self.digest(*beside), vectors)

    def _longest(self) -> int:
        for name, key in (("sentence_bert_config.json", "max_seq_length"), ("config.json", "max_position_embeddings")):
            found = self.settings(name).get(key)
            if isinstance(found, int) and found > 0:
                self.max_tokens = found
                return found
        self.max_tokens = DEFAULT_TOKENS
        return DEFAULT_TOKENS

    def _session(self, path: str) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise self.bad(self.chosen[1], str(error)) from error

    def _run(self, session: Any, output: str, given: dict[str, Any]) -> Any:
        try:
            return np.asarray(session.run([output], given)[0], np.float32)
        except Exception as error:
            raise self.bad(self.chosen[1], str(error)) from error


def padded(encoded: list[list[int]]) -> tuple[Any, Any]:
    """Return ids and mask, int64 of shape (n, longest)."""
    longest = max(1, *map(len, encoded))
    ids, mask = np.zeros((2, len(encoded), longest), np.int64)
    for row, numbers in enumerate(encoded):
        ids[row, : len(numbers)] = numbers
        mask[row, : len(numbers)] = 1
    return ids, mask


def mean(states: Any, mask: Any) -> Any:
    """Return the average of the states of real tokens."""
    weight = mask[:, :, None].astype(np.float32)
    return (states * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
