"""uuid-generator, hash-calculator and base64-encoder."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from pathlib import Path

import pytest

from llmspell.base.context import Context
from llmspell.base.effects import Direct
from llmspell.config.model import Config
from llmspell.errors import SecurityError, ValidationError
from llmspell.security import Security
from llmspell.tools import Tools


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    config = Config()
    security = Security(config, home=tmp_path / "home", cwd=tmp_path)
    return Tools(config.tools, security=security, http=None, state=None, effects=Direct(), cwd=tmp_path)


async def result(tools: Tools, tool: str, /, **params):
    envelope = await tools.call(tool, params)
    assert envelope["success"], envelope
    return envelope["result"]


@pytest.mark.parametrize("version", ["v1", "v3", "v4", "v5", "v6", "v7", "1", "7"])
async def test_a_uuid_has_the_version_it_was_asked_for(tools, version):
    made = await result(tools, "uuid", version=version, name="x")
    assert uuid.UUID(made["uuid"]).version == int(version[-1])
    assert uuid.UUID(made["uuid"]).variant == uuid.RFC_4122
    assert made["version"] == f"v{version[-1]}"


async def test_named_uuids_agree_with_the_standard_library(tools):
    made = await result(tools, "uuid", version="v3", name="a", namespace="url")
    assert made["uuid"] == str(uuid.uuid3(uuid.NAMESPACE_URL, "a"))
    made = await result(tools, "uuid", version="v5", name="a", namespace=str(uuid.NAMESPACE_OID))
    assert made["uuid"] == str(uuid.uuid5(uuid.NAMESPACE_OID, "a"))


@pytest.mark.parametrize(
    ("form", "shape"), [("simple", "{:32}"), ("urn", "urn:uuid:"), ("braced", "{"), ("hyphenated", "-")]
)
async def test_a_uuid_has_several_written_forms(tools, form, shape):
    made = await result(tools, "uuid", format=form)
    assert uuid.UUID(made["uuid"]).version == 4
    assert shape.startswith("{:") or shape in made["uuid"]
    assert made["format"] == ("standard" if form == "hyphenated" else form)


async def test_time_ordered_uuids_do_not_go_back_and_never_repeat(tools):
    made = (await result(tools, "uuid", version="v7", count=1000))["uuids"]
    assert len(set(made)) == 1000
    stamps = [int(text.replace("-", "")[:12], 16) for text in made]
    assert stamps == sorted(stamps)
    sixes = (await result(tools, "uuid", version="v6", count=100))["uuids"]
    assert [text[:18] for text in sixes] == sorted(text[:18] for text in sixes)


async def test_node_ids_are_random(tools):
    nodes = {uuid.UUID((await result(tools, "uuid", version="v1"))["uuid"]).node for _ in range(5)}
    assert len(nodes) == 5
    assert uuid.getnode() not in nodes


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("6ba13d5a-3f5d-4a5b-9f7e-3d5a2f4d3a2b", True),
        ("{6BA13D5A-3F5D-4A5B-9F7E-3D5A2F4D3A2B}", True),
        ("urn:uuid:6ba13d5a3f5d4a5b9f7e3d5a2f4d3a2b", True),
        ("6ba13d5a-3f5d-4a5b-9f7e-3d5a2f4d3a2", False),
        ("6-ba13d5a3f5d4a5b9f7e3d5a2f4d3a2b", False),
        ("{{6ba13d5a-3f5d-4a5b-9f7e-3d5a2f4d3a2b", False),
        ("zba13d5a-3f5d-4a5b-9f7e-3d5a2f4d3a2b", False),
        ("", False),
        ("\x00" * 36, False),
        ("00000000-0000-7000-8000-ffffffffffff", True),
        ("ffffffff-ffff-7fff-8fff-ffffffffffff", True),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", True),
    ],
)
async def test_validate_judges_the_written_form(tools, text, valid):
    verdict = await result(tools, "uuid", operation="validate", uuid=text)
    assert verdict["valid"] is valid
    assert ("error" in verdict) is not valid


async def test_ids_are_joined_of_their_parts(tools):
    made = await result(tools, "uuid", operation="custom", prefix="job", timestamp=True, suffix="end", short=True)
    prefix, stamp, random, suffix = made["id"].split("_")
    assert (prefix, suffix, len(random)) == ("job", "end", 8)
    assert int(stamp) > 1_600_000_000_000
    first = await result(tools, "uuid", operation="deterministic", name="n", namespace="tool")
    assert first == await result(tools, "uuid", operation="deterministic", name="n", namespace="tool")
    assert first["id"] == str(uuid.uuid5(uuid.UUID("7cb24e6b-4f6e-5b6c-af8f-4e6b3f5e4b3c"), "n"))


@pytest.mark.parametrize(
    "params", [{"version": "v3"}, {"version": "v9"}, {"count": 0}, {"count": 1001}, {"namespace": "x"}]
)
async def test_bad_requests_for_uuids_are_refused(tools, params):
    with pytest.raises(ValidationError) as caught:
        await tools.call("uuid", params)
    assert caught.value.code == "schema_violation"


@pytest.mark.parametrize(
    "name", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_512", "blake2b"]
)
async def test_hashes_agree_with_the_standard_library(tools, name):
    made = await result(tools, "hash", input="abc", algorithm=name)
    assert made["hash"] == hashlib.new(name, b"abc").hexdigest()
    keyed = await result(tools, "hash", input="abc", algorithm=name, key="k")
    assert keyed["hash"] == hmac.new(b"k", b"abc", name).hexdigest()
    coded = await result(tools, "hash", input="abc", algorithm=name, format="base64")
    assert base64.b64decode(coded["hash"]).hex() == made["hash"]


async def test_blake3_and_crc32_have_their_published_values(tools):
    empty = await result(tools, "hash", input="", algorithm="blake3")
    assert empty["hash"] == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert (await result(tools, "hash", input="123456789", algorithm="crc32"))["hash"] == "cbf43926"
    with pytest.raises(ValidationError):
        await tools.call("hash", {"input": "a", "algorithm": "crc32", "key": "k"})


async def test_input_may_be_hex_base64_bytes_or_a_file(tools, tmp_path):
    (tmp_path / "f.bin").write_bytes(b"abc" * 700_000)
    wanted = hashlib.sha256(b"abc").hexdigest()
    for params in (
        {"input": "61 62 63", "input_type": "hex"},
        {"input": "YWJj", "input_type": "base64"},
        {"input": b"abc"},
    ):
        assert (await result(tools, "hash", **params))["hash"] == wanted
    from_file = await result(tools, "hash", file="f.bin")
    assert from_file == {
        "algorithm": "SHA-256",
        "hash": hashlib.sha256(b"abc" * 700_000).hexdigest(),
        "format": "hex",
        "size": 2_100_000,
    }


async def test_verify_tells_both_hashes_only_when_they_differ(tools):
    good = await result(
        tools, "hash", operation="verify", input="abc", expected_hash=hashlib.sha256(b"abc").hexdigest().upper()
    )
    assert good == {"verified": True, "algorithm": "SHA-256"}
    bad = await result(tools, "hash", operation="verify", input="abd", expected_hash="00")
    assert bad["verified"] is False
    assert bad["expected"] == "00"
    assert bad["actual"] == hashlib.sha256(b"abd").hexdigest()


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"input": "a", "path": "b"},
        {"input": "zz", "input_type": "hex"},
        {"input": "a", "algorithm": "md4"},
        {"input_type": "file"},
    ],
)
async def test_bad_requests_for_hashes_are_refused(tools, params):
    with pytest.raises(ValidationError):
        await tools.call("hash", params)


@pytest.mark.parametrize("data", [b"", b"h", b"hi", b"hello world", bytes(range(256)), "é😀".encode()])
@pytest.mark.parametrize("variant", ["standard", "url-safe"])
@pytest.mark.parametrize("padding", [True, False])
async def test_what_is_encoded_decodes_to_the_same(tools, data, variant, padding):
    coded = await result(tools, "base64", operation="encode", input=data, variant=variant, padding=padding)
    back = await result(tools, "base64", operation="decode", input=coded["output"], variant=variant)
    assert coded["size"] == len(data)
    assert (bytes.fromhex(back["output"]) if back["binary"] else back["output"].encode()) == data


@pytest.mark.parametrize(
    ("text", "position"),
    [("aGk*", 3), ("a=Gk", 1), ("aGkaa", 4), ("aGk==", 3), ("a G\n*", 4), ("aG-_", 2), ("é", 0), ("=", 0)],
)
async def test_bad_base64_is_refused_with_its_position(tools, text, position):
    with pytest.raises(ValidationError) as caught:
        await tools.call("base64", {"operation": "decode", "input": text})
    assert caught.value.code == "schema_violation"
    assert caught.value.details["position"] == position


async def test_hex_may_be_encoded_and_bad_hex_is_refused(tools):
    assert (await result(tools, "base64", operation="encode", input="68 69", binary_input=True))["output"] == "aGk="
    for text in ("6", "6g"):
        with pytest.raises(ValidationError):
            await tools.call("base64", {"operation": "encode", "input": text, "binary_input": True})


async def test_files_go_in_and_out_of_base64(tools, tmp_path):
    (tmp_path / "in.bin").write_bytes(b"\xff\x00")
    envelope = await tools.call("base64", {"operation": "encode", "input_file": "in.bin", "output_file": "out.txt"})
    assert "output" not in envelope["result"]
    assert envelope["metadata"]["file_path"] == str(tmp_path / "out.txt")
    assert envelope["metadata"]["file_size"] == 4
    await tools.call("base64", {"operation": "decode", "path": "out.txt", "target_path": "back.bin"})
    assert (tmp_path / "back.bin").read_bytes() == b"\xff\x00"


@pytest.mark.parametrize(("name", "params"), [("hash", {}), ("base64", {"operation": "encode"})])
async def test_a_path_needs_more_than_the_safe_level(tools, name, params):
    with pytest.raises(SecurityError) as caught:
        await tools.call(name, {**params, "path": "a"}, Context(level="safe"))
    assert caught.value.code == "level_denied"
    missing = await tools.call(name, {**params, "path": "missing"})
    assert missing["error"]["code"] == "not_found"
