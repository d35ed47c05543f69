"""Taking the place of a collection: a new one is made beside it, marked when it is complete, and moved.

<vectors>/.reindex/<collection>/            the new one, a folder like any other
<vectors>/.reindex/<collection>/complete    there when nothing is missing
"""

from __future__ import annotations

from pathlib import Path

from llmspell.vectors.tenants import failure

NEW = ".reindex"
COMPLETE = "complete"


def move(made: Path, place: Path) -> None:
    """Move a complete collection to a place that is empty. Raises StorageFailure."""
    try:
        made.rename(place)
        (place / COMPLETE).unlink(missing_ok=True)
    except OSError as error:
        raise failure("move", made, error) from error


def recover(folder: Path) -> None:
    """Finish what a process that died had completed: the old collection is gone, the new one not yet in its place."""
    if not (folder / NEW).is_dir():
        return
    for mark in (folder / NEW).glob(f"*/{COMPLETE}"):
        place = folder / mark.parent.name
        if not place.exists():
            move(mark.parent, place)
