"""The chain that every entry hangs on, and the search for the first link that does not hold. Pure.

hash = SHA-256(0x01 | previous hash | SHA-256(0x00 | canonical JSON of the entry)), after RFC 6962's domain separation;
the previous hash of entry 0 is 32 zero bytes. An export of the head, kept elsewhere, is what finds a history that was rewritten as a whole.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from cutover.journal.canonical import canonical
from cutover.journal.model import Entry

GENESIS: Final = "00" * 32
LEAF, LINK = b"\x00", b"\x01"

Head = tuple[int, str]
"""The number and the hash of an entry that was once the last."""


@dataclass(frozen=True, slots=True)
class Break:
    """The first entry that is not what it must be, and how."""

    seq: int
    how: str
    """edited, deleted, inserted, reordered, truncated or forked"""
    words: str


def content(entry: Entry) -> dict[str, Any]:
    """What is hashed of an entry: everything but the two hashes."""
    hashed = asdict(entry)
    del hashed["previous"], hashed["hash"]
    return hashed


def link(entry: Entry) -> str:
    """The hash that this entry must have."""
    leaf = hashlib.sha256(LEAF + canonical(content(entry)).encode()).digest()
    return hashlib.sha256(LINK + bytes.fromhex(entry.previous) + leaf).hexdigest()


def sealed(entry: Entry) -> Entry:
    """The entry with its hash."""
    return replace(entry, hash=link(entry))


def first_break(entries: Iterable[Entry], kept: Head, exported: Head | None = None) -> Break | None:
    """Check every link, in order, then the head that the run keeps and the one that was exported; None when all hold."""
    hashes: list[str] = []
    for entry in entries:
        broken = _misplaced(entry, len(hashes)) or _unlinked(entry, hashes[-1] if hashes else GENESIS)
        if broken is not None:
            return broken
        hashes.append(entry.hash)
    return next(_head_breaks(hashes, kept, exported), None)


def _misplaced(entry: Entry, due: int) -> Break | None:
    if entry.seq > due:
        return Break(due, "deleted", f"entry {due} is missing; the next one there is {entry.seq}")
    if entry.seq < due:
        return Break(entry.seq, "forked", f"there is a second entry {entry.seq}")
    return None


def _unlinked(entry: Entry, previous: str) -> Break | None:
    seq = entry.seq
    if _holds(entry):
        rewritten = f"entry {seq} does not follow the entry before it: one of the two was written in place of another"
        return None if entry.previous == previous else Break(seq, "forked", rewritten)
    place = _written_as(entry)
    if place is None:
        return Break(seq, "edited", f"entry {seq} is not what was written: its hash does not fit")
    if place < seq:
        return Break(seq, "inserted", f"entry {seq} was written as entry {place}: something was put in before it")
    return Break(seq, "reordered", f"entry {seq} was written as entry {place}")


def _holds(entry: Entry) -> bool:
    try:
        return link(entry) == entry.hash
    except ValueError:  # what stands for the previous hash is none
        return False


def _written_as(entry: Entry, reach: int = 1000) -> int | None:
    """The number nearby under which an entry's hash fits; None when there is none."""
    near = range(max(0, entry.seq - reach), entry.seq + reach)
    return next((place for place in near if _holds(replace(entry, seq=place))), None)


def _head_breaks(hashes: list[str], kept: Head, exported: Head | None) -> Iterator[Break]:
    last = len(hashes) - 1
    for (seq, digest), whose in ((kept, "the run's own head"), *([(exported, "the exported head")] if exported else [])):
        if seq > last:
            yield Break(last + 1, "truncated", f"entry {last + 1} is missing: {whose} is entry {seq}")
        elif hashes[seq] != digest:
            yield Break(seq, "forked", f"entry {seq} is another one than {whose} says")
    if kept[0] < last:
        yield Break(kept[0] + 1, "inserted", f"entry {kept[0] + 1} comes after the run's own head")
