"""The compiled index and the state store on their own: find similar tickets, remember what was found.

Run: python vectors.py
"""

import tempfile

import numpy as np

import llmspell

TICKETS = ["printer is on fire", "printer does not print", "coffee machine empty", "coffee tastes of printer ink"]


def trigrams(text: str) -> np.ndarray:
    """Return a vector that counts the letters by threes; any embedding would do."""
    vector = np.zeros(256, dtype=np.float32)
    for at in range(len(text) - 2):
        vector[sum(ord(letter) * 31**power for power, letter in enumerate(text[at : at + 3])) % 256] += 1
    return vector


def main() -> None:
    """Search all tickets, then only the ones about coffee."""
    index = llmspell.VectorIndex(256, metric="cosine")
    index.add(np.arange(len(TICKETS)), np.stack([trigrams(text) for text in TICKETS]))
    hits = index.search(trigrams("the printer prints nothing"), k=2)
    print([TICKETS[key] for key in hits.keys], "exhausted", hits.exhausted)
    coffee = [number for number, text in enumerate(TICKETS) if "coffee" in text]
    hits = index.search(trigrams("printer"), k=3, allow=coffee)
    print([TICKETS[key] for key in hits.keys], "exhausted", hits.exhausted)

    with tempfile.TemporaryDirectory() as home:
        store = llmspell.StateStore("sqlite", f"{home}/state.db")
        store.save("global", "best", TICKETS[int(hits.keys[0])])
        store.close()
        store = llmspell.StateStore("sqlite", f"{home}/state.db")
        print(store.load("global", "best"))
        store.close()


main()
