"""The word table of a scope."""

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from llmspell.vectors import lexical


@given(st.lists(st.tuples(st.integers(1, 400), st.booleans()), max_size=40))
def test_texts_are_counted_without_reading_them(steps):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    lexical.create(connection, 1)
    assert lexical.count(connection, 1) == 0
    held = 0
    for amount, adding in steps:
        with connection:
            connection.execute("BEGIN")
            if adding:
                lexical.add(connection, 1, [(held + n, f"text {held + n}") for n in range(1, amount + 1)])
                held += amount
            else:
                gone = range(max(0, held - amount) + 1, held + 1)
                lexical.remove(connection, 1, [(n, f"text {n}") for n in gone])
                held -= len(gone)
        assert lexical.count(connection, 1) == held
    connection.close()
