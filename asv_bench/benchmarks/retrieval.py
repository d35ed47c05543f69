"""Retrieval as users call it: text in at so many megabytes a second, and a search of both arms beside its parts.

`python retrieval.py [chunks]` prints a table. Text is made of words whose frequencies fall as those of a language do.
"""

import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from llmspell.config.model import Rag as Section
from llmspell.rag import Rag
from llmspell.vectors import lexical

K = 10
ROUNDS = 5


def words(count=30_000):
    rng = random.Random(7)
    return ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(count)]


WORDS = words()


def word(rng):
    return WORDS[min(int(rng.paretovariate(0.6)) * 3, len(WORDS) - 1)]


def text(rng, size):
    sentences, length = [], 0
    while length < size:
        sentences.append(" ".join(word(rng) for _ in range(rng.randint(5, 20))).capitalize() + ".")
        length += len(sentences[-1]) + 1
    return " ".join(sentences)


def documents(count, size):
    rng = random.Random(1)
    return [{"id": f"d{number}", "content": text(rng, size)} for number in range(count)]


class Ingest:
    """Documents of different sizes into a new collection."""

    params = [200, 2000, 20_000]
    param_names = ["bytes of a document"]
    number = 1
    repeat = 3
    warmup_time = 0

    def setup(self, size):
        self.folder = Path(tempfile.mkdtemp(prefix="llmspell-bench-"))
        self.documents = documents(2_000_000 // size, size)
        self.turn = 0

    def time_ingest(self, size):
        self.turn += 1
        rag = Rag(Section(), home=self.folder / str(self.turn))
        asyncio.run(rag.ingest(self.documents))
        rag.close()

    def time_chunks(self, size):
        rag = Rag(Section(), home=self.folder)
        for document in self.documents:
            rag.chunk(document["content"])

    def teardown(self, size):
        shutil.rmtree(self.folder)


def least_ms(act):
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    return min(took) * 1000


async def least_of(rag, query, mode):
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await rag.search(query, k=K, mode=mode, cache=False)
        took.append(time.perf_counter() - began)
    return min(took) * 1000


def words_alone(rag, query):
    """Return the milliseconds of the bare full-text query, as the keyword arm asks it."""
    asked = " OR ".join(f'"{term}"' for term in lexical.terms(query))
    statement = "SELECT rowid, rank FROM words_1 WHERE words_1 MATCH ? ORDER BY rank LIMIT 50"
    with rag._catalog.find("default").reading() as connection:
        return least_ms(lambda: connection.execute(statement, (asked,)).fetchall())


async def table(chunks):
    folder = Path(tempfile.mkdtemp(prefix="llmspell-bench-"))
    rag = Rag(Section(), home=folder)
    given = documents(chunks, 1500)
    size = sum(len(document["content"]) for document in given) / 1e6
    began, used = time.perf_counter(), time.process_time()
    await rag.ingest(given)
    took, used = time.perf_counter() - began, time.process_time() - used
    yield f"ingest {size:.0f} MB", f"{size / took:.1f} MB/s", f"{size / used:.1f} MB/s of processor time"
    began = time.perf_counter()
    again = await rag.ingest(given)
    yield "again, unchanged", f"{again.documents_unchanged}", f"{time.perf_counter() - began:.2f} s"
    await rag.search("warm up")
    await asyncio.sleep(min(30, chunks / 2000))  # a graph is being made
    rng = random.Random(5)
    rows = []
    for _ in range(30):
        query = " ".join(WORDS[rng.randint(40, 4000)] for _ in range(3))  # what is more frequent is no topic
        parts = [await least_of(rag, query, mode) for mode in ("vector", "keyword", "hybrid")]
        rows.append((*parts, words_alone(rag, query)))
    for name, column in zip(("vector", "keyword", "hybrid", "FTS5 alone"), zip(*rows, strict=True), strict=True):
        ordered = sorted(column)
        yield name, f"{ordered[15]:.2f} ms", f"{ordered[-2]:.2f} ms at most"
    beyond = sorted(hybrid - vector - alone for vector, _, hybrid, alone in rows)
    yield "hybrid beyond its parts", f"{beyond[15]:.2f} ms", f"{beyond[-2]:.2f} ms at most"
    rag.close()
    shutil.rmtree(folder)


async def main(chunks):
    async for name, *columns in table(chunks):
        print(f"{name:<26}", *(f"{column:>16}" for column in columns))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
