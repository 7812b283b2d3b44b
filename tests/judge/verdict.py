"""What two topics' records and the mirror's positions say about each other. Pure; memory grows with the records, which are few in tests."""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import NamedTuple

PROVENANCE_KEY = "_cutover"
_PROVENANCE = struct.Struct(">B8sIiq")
_VERSION = 1

Headers = tuple[tuple[str, bytes | None], ...]


class Place(NamedTuple):
    """Where a record stands on the origin."""

    partition: int
    offset: int


@dataclass(frozen=True)
class Record:
    """One record as it was read from a topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int

    @property
    def origin(self) -> Place | None:
        """What its provenance says, the last header of that form; None without."""
        for key, value in reversed(self.headers):
            if key == PROVENANCE_KEY and value is not None and len(value) == _PROVENANCE.size:
                version, _, _, partition, offset = _PROVENANCE.unpack(value)
                return Place(partition, offset) if version == _VERSION else None
        return None

    @property
    def own(self) -> tuple[bytes | None, bytes | None, Headers, int]:
        """What a mirror must not change."""
        return self.key, self.value, tuple(each for each in self.headers if each[0] != PROVENANCE_KEY), self.timestamp_ms


def stamp(run_id: bytes, epoch: int, origin: Place) -> bytes:
    """Encode provenance as engine/provenance does."""
    return _PROVENANCE.pack(_VERSION, run_id, epoch, *origin)


@dataclass(frozen=True)
class Verdict:
    """What is wrong, by kind; places are those of the origin, except for phantoms (partition and offset of the follower)."""

    lost: tuple[Place, ...] = ()  # below the position, not on the follower
    beyond: tuple[Place, ...] = ()  # on the follower, at or past the position: a restart copies it again
    duplicated: tuple[Place, ...] = ()
    reordered: tuple[Place, ...] = ()
    changed: tuple[Place, ...] = ()
    misplaced: tuple[Place, ...] = ()
    phantoms: tuple[Place, ...] = ()
    records: int = field(default=0, compare=False)

    @property
    def is_equal(self) -> bool:
        """Whether nothing is wrong."""
        return self == Verdict()

    def __str__(self) -> str:
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "records" and getattr(self, each.name)}
        wrong = ", ".join(f"{len(places)} {kind} from {places[0]}" for kind, places in found.items())
        return f"{self.records} records on the follower: {wrong or 'equal'}"


def compare(
    origin: Iterable[Record], follower: Iterable[Record], positions: Mapping[int, int], place: Callable[[bytes | None, Place], int]
) -> Verdict:
    """Judge the follower's records against the origin's below the positions; `place` says where a key belongs."""
    written = {Place(each.partition, each.offset): each for each in origin}
    copies = list(follower)
    counted = Counter(each.origin for each in copies)
    stamped = [(each, each.origin) for each in copies if each.origin in written]
    return Verdict(
        lost=tuple(at for at in written if at.offset < positions.get(at.partition, 0) and at not in counted),
        beyond=tuple(at for at in written if at.offset >= positions.get(at.partition, 0) and at in counted),
        duplicated=tuple(at for at in written if counted[at] > 1),
        reordered=tuple(_reordered(copies)),
        changed=tuple(at for each, at in stamped if at and each.own != written[at].own),
        misplaced=tuple(at for each, at in stamped if at and each.partition != place(each.key, at)),
        phantoms=tuple(Place(each.partition, each.offset) for each in copies if each.origin not in written),
        records=len(copies),
    )


def _reordered(copies: Iterable[Record]) -> Iterable[Place]:
    """Places that come after a later one of the same origin partition in the same follower partition."""
    newest: dict[tuple[int, int], int] = {}
    for each in sorted(copies, key=lambda record: (record.partition, record.offset)):
        if (at := each.origin) is None:
            continue
        pair = each.partition, at.partition
        if at.offset < newest.get(pair, -1):
            yield at
        newest[pair] = max(newest.get(pair, -1), at.offset)
