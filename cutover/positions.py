"""The second derivation of positions: DESIGN 6.1 once more, in another language, over another client, by another search.

Pure, over a Reader. It finds what the engine's `translate` finds (or shows that one of the two is wrong), by bisecting one
pair of partitions at a time. Hints say where to look first; what is found rests on records alone, whatever the hints. It takes
a record's provenance at its word: librdkafka does not tell who wrote it.
"""

import struct
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from cutover.lineage import Lineage
from cutover.model import Header, TopicPartition
from cutover.ports import Reader

PROVENANCE_KEY = "_cutover"
_PROVENANCE = struct.Struct(">B8sIiq")
_PROVENANCE_VERSION = 1
WINDOW_OFFSETS = 500
WIDEST_WINDOW_OFFSETS = 64_000

Span = tuple[int, int]
"""Offsets, half-open."""


class Origin(NamedTuple):
    """Where a mirrored record came from."""

    run_id: str
    epoch: int
    partition: int
    offset: int


class Counterpart(NamedTuple):
    """A mirrored record: its offset on the follower, and its origin."""

    at: int
    partition: int
    offset: int


class Mirrored(Protocol):
    """Reads the mirrored records of spans of follower partitions, each in order."""

    def __call__(self, spans: Mapping[int, Span], /) -> Mapping[int, Sequence[Counterpart]]:
        """Each span's records, by follower partition."""


def provenance(headers: Sequence[Header]) -> Origin | None:
    """The provenance of a record with these headers: its last header, if it is of that form."""
    if not headers or headers[-1][0] != PROVENANCE_KEY:
        return None
    value = headers[-1][1]
    if value is None or len(value) != _PROVENANCE.size or value[0] != _PROVENANCE_VERSION:
        return None
    _, run, epoch, partition, offset = _PROVENANCE.unpack(value)
    return Origin(run.hex(), epoch, partition, offset)


@dataclass(frozen=True, slots=True)
class FollowerLog:
    """The mirrored records of one run and epoch on a follower topic."""

    reader: Reader
    follower: str
    run_id: str
    epoch: int = 0

    def __call__(self, spans: Mapping[int, Span], /) -> Mapping[int, Sequence[Counterpart]]:
        """Read all spans at once."""
        found: dict[int, list[Counterpart]] = {q: [] for q in spans}
        for record in self.reader.read({TopicPartition(self.follower, q): span for q, span in spans.items()}):
            origin = provenance(record.headers)
            if origin is not None and (origin.run_id, origin.epoch) == (self.run_id, self.epoch):
                found[record.partition].append(Counterpart(record.offset, origin.partition, origin.offset))
        return found


Outcome = TypeVar("Outcome")
Search = Generator[Span, Sequence[Counterpart], Outcome]
"""Asks for spans of one follower partition, is sent their records, returns its outcome."""


def to_follower(
    mirrored: Mirrored,
    lineage: Lineage,
    unread: Mapping[int, int],
    spans: Mapping[int, Span],
    *,
    hints: Mapping[int, int] | None = None,
    window_offsets: int = WINDOW_OFFSETS,
) -> dict[int, int]:
    """Per follower partition the first record whose origin is unread (at or past `unread` of its partition), else the span's end."""
    first = {q: (hints or {}).get(q, sum(span) // 2) for q, span in spans.items()}
    return _together(mirrored, {q: _first_unread(lineage.parents(q), unread, span, window_offsets, first[q]) for q, span in spans.items()})


def to_origin(
    mirrored: Mirrored,
    lineage: Lineage,
    spans: Mapping[int, Span],
    mirror: Mapping[int, int],
    *,
    window_offsets: int = WINDOW_OFFSETS,
) -> dict[int, int]:
    """Per origin partition the least origin of the first unread records; the mirror's position where there is none.

    Each span begins at the group's position on a follower partition and ends where that was known to end.
    """
    firsts = _together(mirrored, {q: _firsts(lineage.parents(q), span, window_offsets) for q, span in spans.items()})
    candidates = {p: [first[p] for first in firsts.values() if p in first] for p in mirror}
    return {p: min(offsets, default=mirror[p]) for p, offsets in candidates.items()}


def read_again(mirrored: Mirrored, answer: Mapping[int, int], ends: Mapping[int, int], unread: Mapping[int, int]) -> dict[int, int]:
    """Per follower partition how many records from the answer on were read on the origin: everything to the end is read and counted."""
    records = mirrored({q: (start, ends[q]) for q, start in answer.items()})
    return {q: sum(each.offset < unread[each.partition] for each in records[q]) for q in answer}


def within(vector: Mapping[int, int], begin: Mapping[int, int] | None, end: Mapping[int, int] | None) -> dict[int, int]:
    """A vector cut to an epoch's span on its topic; None: the epoch is not bounded there."""
    high = {p: min(offset, (end or {}).get(p, offset)) for p, offset in vector.items()}
    return {p: max(offset, (begin or {}).get(p, offset)) for p, offset in high.items()}


def compose(answers: Sequence[Mapping[int, int]], ends: Sequence[Mapping[int, int]]) -> dict[int, int]:
    """Positions across epochs: each partition's from the first epoch that has something unread there, else from the last one.

    `answers` are those of each epoch in order, `ends` where all but the last one ended on that side.
    """
    composed = dict(answers[-1])
    for answer, end in zip(reversed(answers[:-1]), reversed(ends), strict=True):
        composed |= {p: offset for p, offset in answer.items() if offset < end[p]}
    return composed


def differences(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, tuple[int | None, int | None]]:
    """Where two vectors are not the same."""
    return {p: (one.get(p), other.get(p)) for p in sorted(one.keys() | other.keys()) if one.get(p) != other.get(p)}


def _together(mirrored: Mirrored, searches: Mapping[int, Search[Outcome]]) -> dict[int, Outcome]:
    """Run searches side by side: each round reads one span for each that is still going."""
    outcomes: dict[int, Outcome] = {}
    asked: dict[int, Span] = {}

    def advance(q: int, step: Callable[[], Span]) -> None:
        try:
            asked[q] = step()
        except StopIteration as ended:
            outcomes[q] = ended.value

    for q, search in searches.items():
        advance(q, lambda search=search: next(search))  # type: ignore[misc]
    while asked:
        answers = mirrored(dict(asked))
        asked.clear()
        for q, records in answers.items():
            advance(q, lambda search=searches[q], records=records: search.send(records))  # type: ignore[misc]
    return outcomes


def _first_unread(parents: Iterable[int], unread: Mapping[int, int], span: Span, window: int, hint: int) -> Search[int]:
    """The first unread record of any parent: bisect for one parent after the other, each below what was found before."""
    begin, end = span
    waiting, known = list(parents), set(parents)
    while waiting:
        parent = waiting.pop(0)
        strangers: set[int] = set()
        end = yield from _first_unread_of(parent, unread[parent], (begin, end), window, hint, strangers)
        waiting += sorted(strangers - known)  # keys off their hash partition: whoever is met is asked about too
        known |= strangers
    return end


def _first_unread_of(parent: int, bound: int, span: Span, window: int, hint: int, met: set[int]) -> Search[int]:
    """Everything of the parent below `low` is read; the first unread one lies at [low, high), or else it is `found`."""
    low, high = span
    found, look = high, hint - window // 2
    while low < high:
        begin = after = min(max(look, low), high - 1)
        ours: list[Counterpart] = []
        while not ours and after < high:
            until = min(after + window, high)
            records = yield after, until
            met |= {each.partition for each in records}
            ours = [each for each in records if each.partition == parent]
            after, window = until, min(window if ours else 2 * window, WIDEST_WINDOW_OFFSETS)
        reads = sum(each.offset < bound for each in ours)
        if reads < len(ours):
            found = ours[reads].at
        if 0 < reads < len(ours):
            return found
        low, high = (after, high) if reads else (low, begin)
        look = (low + high) // 2
    return found


def _firsts(parents: Iterable[int], span: Span, window: int) -> Search[dict[int, int]]:
    """The origin offset of the first record of each parent in the span, reading on until all were met."""
    begin, end = span
    wanted = set(parents)
    first: dict[int, int] = {}
    while begin < end and not wanted <= first.keys():
        records = yield begin, min(begin + window, end)
        for each in records:
            first.setdefault(each.partition, each.offset)
        begin, window = begin + window, min(2 * window, WIDEST_WINDOW_OFFSETS)
    return first
