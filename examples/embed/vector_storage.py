"""A vector storage by URL: entries of many customers, filters, times to live, and nothing lost on closing.

Run: python vector_storage.py
"""

import tempfile

import numpy as np

import llmspell
from llmspell import VectorEntry, VectorQuery

COLOURS = {"red": [1, 0, 0], "orange": [1, 0.5, 0], "green": [0, 1, 0], "blue": [0, 0, 1], "navy": [0, 0, 0.5]}


def fill(vectors: llmspell.VectorStorage, customer: str, names: list[str]) -> None:
    """Store some colours as entries of a customer."""
    vectors.store_many(
        [
            VectorEntry(
                id=name,
                embedding=COLOURS[name],
                text=f"{name} of {customer}",
                metadata={"letters": len(name)},
                tenant_id=customer,
            )
            for name in names
        ]
    )


async def main(home: str) -> None:
    """Search as two customers, then again after everything was closed."""
    async with llmspell.open(home=home) as app:
        fill(app.vectors, "acme", ["red", "green", "blue"])
        fill(app.vectors, "globex", ["orange", "navy"])
        reddish = np.asarray([0.9, 0.2, 0.0])
        for customer in ("acme", "globex"):
            found = app.vectors.search(VectorQuery(vector=reddish, k=1, tenant_id=customer))
            print([hit.text for hit in found], "exhausted", found.exhausted)
        short = app.vectors.search(VectorQuery(vector=reddish, tenant_id="acme", filter={"letters": {"lt": 5}}))
        print([hit.id for hit in short], "exhausted", short.exhausted)
        app.vectors.update_metadata("red", {"seen": True}, scope="tenant:acme")
        print(app.vectors.delete_scope("tenant:globex"), "gone,", app.vectors.namespaces(), "left")

    async with llmspell.open(home=home) as app:
        entry = app.vectors.get("red", scope="tenant:acme")
        print(entry.text, entry.metadata, app.vectors.get_stats().total_vectors)


with tempfile.TemporaryDirectory() as folder:
    llmspell.run_sync(main(folder))
