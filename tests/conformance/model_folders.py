"""Small model directories, made on the spot."""

import json
import struct

import numpy as np
import pytest

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "the",
    "red",
    "fox",
    "a",
    "lazy",
    "dog",
    "one",
    "two",
    "three",
    "four",
    "x",
    "y",
]
DIM = 12


def matrix(seed=1):
    return np.random.default_rng(seed).standard_normal((len(WORDS), DIM)).astype(np.float32)


def tokenizer(folder):
    tokenizers = pytest.importorskip("tokenizers", reason="the extra `static` is not installed")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))


def safetensors(path, **tensors):
    kinds = {"float32": "F32", "float16": "F16", "int64": "I64", "float64": "F64", "int8": "I8"}
    header, data = {"__metadata__": {"format": "np"}}, b""
    for name, value in tensors.items():
        raw = value.tobytes()
        header[name] = {
            "dtype": kinds[str(value.dtype)],
            "shape": list(value.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def static_folder(folder, **more):
    tokenizer(folder)
    safetensors(folder / "model.safetensors", **{"embeddings": matrix(), **more})
    return folder


def onnx_folder(folder, *, rows=None, name="last_hidden_state"):
    """Return a model whose state of a token is its row of a matrix, whatever stands around it."""
    onnx = pytest.importorskip("onnx", reason="the package onnx, which makes the model, is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    tokenizer(folder)
    kinds = onnx.TensorProto
    shape = ["batch", "sequence"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["table", "input_ids"], [name])],
        "g",
        [onnx.helper.make_tensor_value_info(word, kinds.INT64, shape) for word in ("input_ids", "attention_mask")],
        [onnx.helper.make_tensor_value_info(name, kinds.FLOAT, [*shape, DIM])],
        [onnx.numpy_helper.from_array(matrix() if rows is None else rows, "table")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    return folder
