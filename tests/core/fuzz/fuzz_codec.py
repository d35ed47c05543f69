"""Decode mutations of encoded values: usage, fuzz_codec.py [--seconds S | --runs N] [--seed N].

Whatever decodes must encode again to what decodes alike; everything else must be refused at a place within the input.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import numpy as np

from llmspell._core import pack, unpack
from llmspell.errors import LimitExceeded, MalformedData, UnsupportedType

SEEDS = [
    pack(value)
    for value in (
        None,
        [1, -1, 2**63, -(2**63), 2**64 - 1, 0.5, float("inf"), True, "text", "ü€😀", b"bytes" * 9],
        {"a": {"b": [{"c": None}] * 3}, 1: 2, False: 3, b"k": "x" * 300},
        [datetime(2024, 2, 29, 12, 30, 1, 5, UTC), UUID(int=7), Decimal("-1.50"), Decimal("NaN")],
        [np.arange(5, dtype=np.float32), np.arange(5)],
        [[[[[[[[]]]]]]]] * 3,
        {str(number): [number] for number in range(40)},
    )
]
LEADS = bytes([0xC1, 0xC6, 0xC9, 0xCA, 0xCF, 0xD3, 0xD4, 0xD8, 0xD9, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0x7F, 0xFF, 0x00])


def mutated(source):
    data = bytearray(source.choice(SEEDS))
    for _ in range(source.randint(1, 6)):
        at, way = source.randrange(len(data) + 1), source.randrange(6)
        if way == 0 and at < len(data):
            data[at] ^= 1 << source.randrange(8)
        elif way == 1 and at < len(data):
            data[at] = source.choice(LEADS)
        elif way == 2:
            data[at : at + source.choice((1, 2, 4, 8))] = source.randbytes(source.choice((1, 2, 4, 8)))
        elif way == 3:
            other = source.choice(SEEDS)
            data[at:at] = other[source.randrange(len(other)) :][:64]
        elif way == 4:
            del data[at : at + source.randrange(16)]
        else:
            data[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


def decode(data):
    try:
        value = unpack(data)
    except MalformedData as error:
        if not 0 <= error.details["offset"] <= len(data):
            raise AssertionError(f"the offset of {error} is not in {len(data)} bytes") from error
        return
    except LimitExceeded:
        return
    try:
        again = pack(value)
    except UnsupportedType:
        return
    if pack(unpack(again)) != again:
        raise AssertionError(f"{value!r} does not come back")


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--seconds", type=float, default=0)
    words.add_argument("--runs", type=int, default=0)
    words.add_argument("--seed", type=int, default=1)
    given = words.parse_args()
    source, done, begin = random.Random(given.seed), 0, time.monotonic()
    with open("/proc/self/statm") as pages:
        size = int(pages.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**28, resource.RLIM_INFINITY))
    while done < given.runs or time.monotonic() - begin < given.seconds:
        data = mutated(source)
        signal.alarm(20)
        try:
            decode(data)
        except BaseException:
            sys.stderr.write(f"input: {data.hex()}\n")
            raise
        done += 1
    sys.stdout.write(f"fuzz_codec: {done} executions in {time.monotonic() - begin:.1f} s\n")


if __name__ == "__main__":
    main()
