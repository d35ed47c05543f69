"""Models from a directory of the user: what is read, how vectors come about, and files that are none."""

import importlib.util
import json
import struct

import numpy as np
import pytest
from model_folders import DIM, WORDS, matrix, onnx_folder, safetensors, static_folder, tokenizer

from llmspell import embedders
from llmspell.config.model import Embedding
from llmspell.errors import ConfigurationError


def build(name, folder, **more):
    return embedders.find(name, section=Embedding(default_provider=name, directory=str(folder)), **more)


def unit(row):
    return row / np.linalg.norm(row)


def rows_of(*words, table=None):
    return (matrix() if table is None else table)[[WORDS.index(word) for word in words]]


async def test_static_is_the_mean_of_the_tokens(tmp_path):
    found = build("static", static_folder(tmp_path))
    expected = unit(rows_of("the", "red", "fox").mean(axis=0))
    assert np.allclose((await found.embed(["The red FOX"]))[0], expected, atol=1e-6)
    assert np.allclose((await found.embed(["the red unheardof fox"]))[0], expected, atol=1e-6)
    nothing = await found.embed(["", "unheardof"])
    assert (nothing == np.eye(1, DIM, dtype=np.float32)).all()


@pytest.mark.parametrize("kind", ["float16", "float64", "int8"])
async def test_static_reads_other_number_types(tmp_path, kind):
    table = (matrix() * 40).astype(kind)
    found = build("static", static_folder(tmp_path, embeddings=table))
    expected = unit(rows_of("lazy", "dog", table=table.astype(np.float32)).mean(axis=0))
    assert np.allclose((await found.embed(["lazy dog"]))[0], expected, atol=1e-4)


async def test_static_uses_weights_and_a_mapping_of_tokens_to_rows(tmp_path):
    weights = np.linspace(0.5, 2, len(WORDS)).astype(np.float64)
    mapping = np.arange(len(WORDS))[::-1].astype(np.int64)
    found = build("static", static_folder(tmp_path, weights=weights, mapping=mapping))
    at = [WORDS.index("red"), WORDS.index("dog")]
    expected = unit((matrix()[mapping[at]] * weights[at, None]).mean(axis=0))
    assert np.allclose((await found.embed(["red dog"]))[0], expected, atol=1e-6)


async def test_static_reads_the_matrix_of_sentence_transformers_and_of_numpy(tmp_path):
    for folder in ("a", "b"):
        tokenizer(tmp_path / folder)
    safetensors(tmp_path / "a" / "model.safetensors", **{"embedding.weight": matrix()})
    np.save(tmp_path / "b" / "embeddings.npy", matrix())
    one, other = build("static", tmp_path / "a"), build("static", tmp_path / "b")
    assert np.array_equal(await one.embed(["red fox"]), await other.embed(["red fox"]))


async def test_onnx_is_the_mean_over_real_tokens_whatever_the_batch_holds(tmp_path):
    found = build("onnx", onnx_folder(tmp_path))
    expected = unit(rows_of("[CLS]", "red", "fox", "[SEP]").mean(axis=0))
    rows = await found.embed(["red fox", "the red fox a lazy dog one two three", "x"])
    assert np.allclose(rows[0], expected, atol=1e-6)
    assert found.max_tokens == 512


async def test_onnx_takes_the_first_state_where_the_model_says_so(tmp_path):
    folder = onnx_folder(tmp_path)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    found = build("onnx", folder)
    assert np.allclose((await found.embed(["red fox"]))[0], unit(rows_of("[CLS]")[0]), atol=1e-6)


async def test_onnx_cuts_what_is_longer_than_the_model_reads(tmp_path):
    folder = onnx_folder(tmp_path)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 4}))
    found = build("onnx", folder)
    assert np.array_equal((await found.embed(["red fox " * 50]))[0], (await found.embed(["red fox"]))[0])
    assert found.max_tokens == 4


async def test_onnx_puts_the_prompts_of_the_model_before_questions_and_documents(tmp_path):
    folder = onnx_folder(tmp_path)
    prompts = {"prompts": {"query": "one ", "document": "two "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    found, plain = build("onnx", folder), build("onnx", onnx_folder(tmp_path / "plain"))
    assert found.tells_queries
    assert not plain.tells_queries
    assert np.array_equal(await found.embed(["fox"], query=True), await plain.embed(["one fox"]))
    assert np.array_equal(await found.embed(["fox"]), await plain.embed(["two fox"]))


@pytest.mark.parametrize(("name", "make"), [("static", static_folder), ("onnx", onnx_folder)])
async def test_another_content_is_another_embedder(tmp_path, name, make):
    first = build(name, make(tmp_path / "a"))
    same = build(name, make(tmp_path / "b"))
    more = {"embeddings": matrix(2)} if name == "static" else {"rows": matrix(2)}
    other = build(name, make(tmp_path / "c", **more))
    assert first.id == same.id != other.id
    assert first.id.endswith(f":{DIM}")


@pytest.mark.parametrize("name", ["static", "onnx"])
def test_what_is_missing_is_named(tmp_path, name):
    with pytest.raises(ConfigurationError, match=r"rag\.embedding\.directory"):
        embedders.find(name, section=Embedding(default_provider=name))
    with pytest.raises(ConfigurationError, match=r"rag\.embedding\.default_provider"):
        embedders.find(name, section=Embedding(directory=str(tmp_path)))
    with pytest.raises(ConfigurationError, match=r"finds no tokenizer\.json"):
        build(name, tmp_path)
    assert not embedders.available(name, Embedding(default_provider=name, directory=str(tmp_path)), None)


@pytest.mark.parametrize(("name", "package"), [("static", "tokenizers"), ("onnx", "onnxruntime")])
def test_a_missing_package_names_the_command(tmp_path, name, package, monkeypatch):
    folder = static_folder(tmp_path)
    (folder / "model.onnx").write_bytes(b"x")
    real = importlib.util.find_spec
    monkeypatch.setattr("llmspell.embedders._local.find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(ConfigurationError, match=rf"pip install 'llmspell\[{name}\]'") as caught:
        build(name, folder)
    assert caught.value.code == "missing_extra"
    assert not embedders.available(name, Embedding(default_provider=name, directory=str(folder)), None)


async def test_a_wrong_wish_for_dimensions_says_what_the_model_has(tmp_path):
    found = build("static", static_folder(tmp_path), dimensions=99)
    with pytest.raises(ConfigurationError, match=rf"rag\.embedding\.dimensions = {DIM}"):
        await found.embed(["red"])


def header(**tensors):
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


GOOD = {"dtype": "F32", "shape": [16, 12], "data_offsets": [0, 768]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 4) + b"{]}x",
        header(other=GOOD) + bytes(768),
        header(embeddings=GOOD) + bytes(700),
        header(embeddings={**GOOD, "shape": [2**40, 2**40]}) + bytes(768),
        header(embeddings={**GOOD, "shape": [-16, -12]}) + bytes(768),
        header(embeddings={**GOOD, "data_offsets": [-768, 0]}) + bytes(768),
        header(embeddings={**GOOD, "dtype": "BF16"}) + bytes(768),
        header(embeddings={**GOOD, "shape": [192]}) + bytes(768),
        header(embeddings={**GOOD, "shape": [4, 12], "data_offsets": [0, 192]}) + bytes(768),
        header(embeddings=7) + bytes(768),
        header(embeddings=GOOD, weights={"dtype": "F32", "shape": [], "data_offsets": [0, 4]}) + bytes(768),
        header(embeddings=GOOD, mapping={"dtype": "I64", "shape": [16], "data_offsets": [768, 896]})
        + bytes(768)
        + struct.pack("<16q", *range(1000, 1016)),
    ],
)
async def test_a_matrix_that_is_none_is_refused(tmp_path, content):
    folder = static_folder(tmp_path)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"model\.safetensors"):
        await build("static", folder).embed(["red"])


async def test_other_files_that_are_none_are_refused(tmp_path):
    folder = static_folder(tmp_path / "s")
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json"):
        await build("static", folder).embed(["red"])
    numpy = tmp_path / "n"
    tokenizer(numpy)
    for content in (b"", b"\x93NUMPY", b"\x80\x04."):
        (numpy / "embeddings.npy").write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"embeddings\.npy"):
            await build("static", numpy).embed(["red"])
    runtime = onnx_folder(tmp_path / "o")
    (runtime / "config.json").write_text("[")
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        await build("onnx", runtime).embed(["red"])
    (runtime / "config.json").unlink()
    (runtime / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ConfigurationError, match=r"model\.onnx"):
        await build("onnx", runtime).embed(["red"])
