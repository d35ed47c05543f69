"""Open damaged files in a process of its own, where a crash or a hang is seen: FOLDER KIND COUNT SEED.

Every file must be refused with section and offset, or answer in the right shape. Prints what happened as JSON.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import struct
import sys
from pathlib import Path

import numpy as np

from llmspell._core import VectorIndex
from llmspell.errors import CorruptData, InvalidArgument, VersionMismatch

DIM, COUNT, MIB = 8, 80, 2**20
KINDS = {
    "f32": {},
    "i8": {"quantization": "i8"},
    "i8+f32": {"quantization": "i8", "keep_f32": True},
    "l1": {"metric": "l1"},
    "exact": {"exact_below": 2048},
    "exact-i8": {"exact_below": 2048, "quantization": "i8"},
}
HEADER, TABLE, CRC = 128, struct.Struct("<HHIQQ"), struct.Struct("<I")
EXTREMES = [0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]


def crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC_OF = crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_OF[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def seal(data):
    """Make the checksums right again, as whoever forges a file would."""
    sections, table_bytes = struct.unpack_from("<H", data, 60)[0], struct.unpack_from("<I", data, 96)[0]
    at = HEADER + TABLE.size * sections
    for number in range(min(sections, 20)):
        if HEADER + (number + 1) * TABLE.size > len(data):
            break
        _, _, blocks, offset, length = TABLE.unpack_from(data, HEADER + number * TABLE.size)
        for block in range(min(blocks, 64)):
            part = data[offset + block * 65536 : min(offset + length, offset + (block + 1) * 65536)]
            if at + 4 <= len(data):
                CRC.pack_into(data, at, crc32c(part))
            at += 4
    CRC.pack_into(data, 100, crc32c(data[HEADER : HEADER + min(table_bytes, len(data))]))
    CRC.pack_into(data, 124, crc32c(data[:124]))


def built(kind):
    index = VectorIndex(DIM, **{"m": 4, "ef_construction": 20, "exact_below": 10, **KINDS[kind]})
    attrs = [{"n": i % 4, "s": f"text {i}", "l": ["a", str(i)], "f": i / 2, "b": True} for i in range(COUNT)]
    index.add(np.arange(COUNT), np.random.default_rng(1).standard_normal((COUNT, DIM)), attrs=attrs)
    index.remove([3, 40])
    return index


def damaged(whole, way, source):
    data = bytearray(whole)
    if way == "cut":
        return data[: source.randrange(len(data))]
    if way == "flip":
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    elif way == "scramble":
        for _ in range(source.choice((2, 20, 200))):
            data[source.randrange(len(data))] = source.randrange(256)
    elif way == "zeros":
        at = source.randrange(len(data))
        data[at : at + 4096] = bytes(len(data[at : at + 4096]))
    else:
        for _ in range(source.choice((1, 1, 4, 40))):
            size = source.choice((1, 2, 4, 8))
            end = HEADER + 8 * TABLE.size if source.random() < 0.5 else len(data)
            at = source.randrange(0, end - size)
            value = source.choice((*EXTREMES, source.getrandbits(64)))
            data[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        if way == "forged":
            data[:6] = whole[:6]
            seal(data)
    return data


def well_formed(hits, k, live):
    assert len(hits.keys) == len(hits.distances) == len(hits.scores) <= k
    assert len(set(hits.keys.tolist())) == len(hits.keys)
    assert set(hits.keys.tolist()) <= live
    assert not np.isnan(hits.distances).any()
    assert (np.diff(hits.distances[np.isfinite(hits.distances)]) >= 0).all()
    assert hits.exhausted or len(hits.keys) == k


def exercise(index, path):
    """Use an index that was opened although its file was damaged."""
    query = np.ones(index.dim)
    live = set(index.keys().tolist())
    assert len(live) == len(index)
    for how in ({}, {"ef": 300}, {"filter": {"n": 1}}, {"allow": list(range(30))}, {"exact": True}, {"threshold": 0.1}):
        well_formed(index.search(query, 7, **how), 7, live)
    if live:
        assert index.get(sorted(live)).shape == (len(live), index.dim)
        index.get_attrs(sorted(live))
    index.remove(range(0, 60, 2))
    index.add(np.arange(1000, 1030), np.random.default_rng(2).standard_normal((30, index.dim)))
    index.compact()
    well_formed(index.search(query, 7), 7, set(index.keys().tolist()))
    index.save(path, sync=False)


def answers(index):
    queries = np.random.default_rng(3).standard_normal((3, index.dim))
    return [(hits.keys.tolist(), hits.distances.tolist()) for hits in index.search_many(queries, 9)]


def refused(error, data):
    assert error.details["section"], error
    assert 0 <= error.details["offset"] <= len(data), error
    return "corrupt"


def open_damaged(path, data, verify, mmap, wanted):
    try:
        index = VectorIndex.open(path, mmap=mmap, verify=verify)
    except CorruptData as error:
        return refused(error, data)
    except VersionMismatch:
        return "version"
    if wanted is not None and verify == "full":
        assert answers(index) == wanted  # what no checksum covers matters to nobody
    exercise(index, path.with_suffix(".again"))
    index.close()
    return "answered"


def import_damaged(path, data):
    try:
        index = VectorIndex.import_hnswlib(path, 12, "l2", exact_below=10)
    except CorruptData as error:
        return refused(error, data)
    except InvalidArgument:
        return "unsupported"  # its m
    exercise(index, path.with_suffix(".again"))
    return "answered"


def main(folder, kind, count, seed):
    path, source, outcomes = Path(folder) / "damaged", random.Random(seed), {}
    whole, wanted = kind, None
    if kind in KINDS:
        index = built(kind)
        index.save(path, sync=False, tag=b"tag")
        whole, wanted = path.read_bytes(), answers(index)
    else:
        whole = Path(kind).read_bytes()
    with open("/proc/self/statm") as pages:
        size = int(pages.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 192 * MIB, resource.RLIM_INFINITY))  # what is absurd is refused
    ways = ["cut", "flip", "scramble", "zeros", "patched", *(["forged", "forged"] if kind in KINDS else [])]
    for number in range(count):
        way = ways[number % len(ways)]
        data = damaged(whole, way, source)
        if data == whole:
            continue
        path.write_bytes(data)
        signal.alarm(20)
        if kind in KINDS:
            verify, mmap = ("header", "graph", "full")[number // 7 % 3], number % 2 == 0
            sys.stderr.write(f"{number} {way} {verify} {mmap}\n")
            found = open_damaged(path, data, verify, mmap, None if way == "forged" else wanted)
        else:
            sys.stderr.write(f"{number} {way}\n")
            found = import_damaged(path, data)
        outcomes[f"{way} {found}"] = outcomes.get(f"{way} {found}", 0) + 1
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
