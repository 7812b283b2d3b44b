"""The second implementation of the audit: random windows judged again, record by record, over another client library.

It shares nothing with the engine but the formats. It sees no producer ids, so it compares coordinates with the origin: what a
foreign writer forged shows as a second record of the same origin, or as one whose origin is not there.
"""

import random
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cutover.engine.audit_events import Sample, Verdict
from cutover.engine.auditing import AuditConfiguration
from cutover.errors import CrossCheckDisagrees
from cutover.model import Record, TopicPartition
from cutover.partitioners import Family, family, null_key_partition
from cutover.ports import Reader

WINDOW_OFFSETS = 2_000
ORIGIN_RECORDS_MOST = 100_000
"""Of one origin partition for one window: a follower partition with few keys would make it read everything."""

PROVENANCE = "_cutover"
LAYOUT = struct.Struct(">B8sIIQ")
BLIND_TO = frozenset({"foreign", "loop", "unexplained"})
"""Kinds of the engine that rest on producer ids, which this reader does not see, or name no place."""

Coordinates = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one follower partition; `first` and `last` say that nothing of the range lies before or behind it."""

    partition: int
    begin: int
    end: int
    first: bool
    last: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation: its origin, where it is known, and its place on the follower, where it has one."""

    kind: str
    origin: Coordinates | None
    follower: Coordinates | None
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """What was judged: a window, and per origin partition the offsets whose counterparts belong into it."""

    window: Window
    origins: Mapping[int, tuple[int, int]]


@dataclass(slots=True)
class CrossCheck:
    """What the second reading came to."""

    scopes: list[Scope] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    origin_records: int = 0
    follower_records: int = 0


def choose(verdict: Verdict, count: int, size: int = WINDOW_OFFSETS, dice: random.Random | None = None) -> list[Window]:
    """So many windows at random over the follower's range, longer partitions more often; all of it when that is not more."""
    dice = dice or random.SystemRandom()
    begins, ends = verdict.bounds.follower_from, verdict.bounds.follower_until
    spans = {number: (begins.get(number, 0), end) for number, end in ends.items()}
    tiles = [
        Window(number, at, min(at + size, end), at == begin, at + size >= end)
        for number, (begin, end) in sorted(spans.items())
        for at in range(begin, max(end, begin + 1), size)
    ]
    return tiles if len(tiles) <= count else sorted(dice.sample(tiles, count), key=lambda each: (each.partition, each.begin))


def cross_check(reader: Reader, configuration: AuditConfiguration, verdict: Verdict, windows: Iterable[Window]) -> CrossCheck:
    """Judge the windows; raises CrossCheckDisagrees when the engine's verdict does not fit what was seen."""
    second = _Second(reader, configuration, verdict)
    for window in windows:
        second.judge(window)
    wrong = list(_disagreements(second.result, verdict))
    if wrong:
        raise CrossCheckDisagrees(
            f"the second reading of {len(second.result.scopes)} windows does not fit the engine's verdict: {wrong[0]}",
            why="Two implementations over two client libraries must see the same records.",
            disagreements=wrong[:20],
        )
    return second.result


@dataclass(frozen=True, slots=True)
class _Copy:
    """A follower record that names its origin."""

    origin: Coordinates
    record: Record
    headers: tuple[tuple[str, bytes | None], ...]


class _Second:
    def __init__(self, reader: Reader, configuration: AuditConfiguration, verdict: Verdict) -> None:
        self.result = CrossCheck()
        self._reader = reader
        self._told = configuration
        self._family: Family = family(configuration.partitioner)
        self._native: Family = family(configuration.origin_partitioner or configuration.partitioner)
        self._from, self._until = verdict.bounds.from_, verdict.bounds.until
        self._expired = {each.partition: each.until for each in verdict.coverage.gaps if each.side == "origin"}
        self._expired_there = {each.partition for each in verdict.coverage.gaps if each.side == "follower"}
        self._timestamps = "timestamp" in verdict.digest_fields

    def judge(self, window: Window) -> None:
        copies = list(self._copies(window))
        origins = self._origins(window, copies)
        self.result.scopes.append(Scope(window, origins))
        self._judge_order(copies)
        for number, (begin, end) in origins.items():
            mine = [each for each in copies if each.origin[0] == number and begin <= each.origin[1] < end]
            self._judge_partition(window, number, (begin, end), mine)

    def _copies(self, window: Window) -> Iterator[_Copy]:
        where = TopicPartition(self._told.follower.name, window.partition)
        for record in self._reader.read({where: (window.begin, window.end)}):
            self.result.follower_records += 1
            origin = self._provenance(record)
            if origin is None:
                self._found("foreign", None, record)
            elif self._from.get(origin[0], 0) <= origin[1] < self._until.get(origin[0], 0):
                yield _Copy(origin, record, record.headers[:-1])

    def _provenance(self, record: Record) -> Coordinates | None:
        name, value = record.headers[-1] if record.headers else ("", None)
        if name != PROVENANCE or value is None or len(value) != LAYOUT.size:
            return None
        version, run, epoch, partition, offset = LAYOUT.unpack(value)
        ours = version == 1 and run.hex() == self._told.run_id and epoch == self._told.epoch
        return (partition, offset) if ours and partition < self._told.origin.partitions else None

    def _origins(self, window: Window, copies: Sequence[_Copy]) -> dict[int, tuple[int, int]]:
        """Per origin partition, the offsets whose copies must stand here: between those that do, at the edges to the range's ends."""
        seen: dict[int, list[int]] = {}
        for each in copies:
            seen.setdefault(each.origin[0], []).append(each.origin[1])
        numbers = set(self._until) if window.first and window.last else set(seen)
        found = {}
        for number in sorted(numbers):
            offsets = seen.get(number, [])
            at_begin = window.first and window.partition not in self._expired_there
            begin = self._from.get(number, 0) if at_begin else min(offsets, default=self._until[number])
            end = self._until[number] if window.last else max(offsets, default=-1) + 1
            begin = max(begin, self._expired.get(number, 0))
            found[number] = (begin, min(end, begin + ORIGIN_RECORDS_MOST))
        return found

    def _judge_order(self, copies: Sequence[_Copy]) -> None:
        greatest: dict[int, int] = {}
        seen: set[Coordinates] = set()
        for each in copies:
            partition, offset = each.origin
            if each.origin in seen:
                self._found("duplicate", each.origin, each.record)
            elif offset < greatest.get(partition, -1):
                self._found("reordered", each.origin, each.record)
            seen.add(each.origin)
            greatest[partition] = max(greatest.get(partition, -1), offset)

    def _judge_partition(self, window: Window, number: int, span: tuple[int, int], copies: Sequence[_Copy]) -> None:
        natives = {}
        for record in self._reader.read({TopicPartition(self._told.origin.name, number): span}):
            natives[record.offset] = record
            self.result.origin_records += 1
            self._judge_home(record)
        by_offset = {each.origin[1]: each for each in reversed(copies)}
        for offset, native in natives.items():
            if self._place(native, number, offset) == window.partition and offset not in by_offset:
                self._found("missing", (number, offset), None)
        for each in copies:
            self._judge_copy(window, each, natives.get(each.origin[1]))

    def _judge_home(self, record: Record) -> None:
        if self._told.off_hash == "accepted" or record.key is None or not self._native.decides(record.key):
            return
        if self._native.place(record.key, self._told.origin.partitions) != record.partition:
            self._found("off_hash", (record.partition, record.offset), None)

    def _judge_copy(self, window: Window, copy: _Copy, native: Record | None) -> None:
        if self._place(copy.record, *copy.origin) != window.partition:
            self._found("misplaced", copy.origin, copy.record)
        if native is None:
            self._found("phantom", copy.origin, copy.record)
            return
        fields = self._differences(copy, native)
        if fields:
            self._found("changed", copy.origin, copy.record, fields)

    def _differences(self, copy: _Copy, native: Record) -> tuple[str, ...]:
        wanted = tuple(each for each in native.headers if not _has_form_of_provenance(each))
        pairs = {
            "key": (native.key, copy.record.key),
            "value": (native.value, copy.record.value),
            "headers": (wanted, copy.headers),
            "timestamp": (native.timestamp_ms, copy.record.timestamp_ms) if self._timestamps else (0, 0),
        }
        return tuple(name for name, (one, other) in pairs.items() if one != other)

    def _place(self, record: Record, partition: int, offset: int) -> int:
        if record.key is not None and self._family.decides(record.key):
            return self._family.place(record.key, self._told.follower.partitions)
        return null_key_partition(self._told.null_keys, partition, offset, self._told.origin.partitions, self._told.follower.partitions)

    def _found(self, kind: str, origin: Coordinates | None, record: Record | None, fields: tuple[str, ...] = ()) -> None:
        follower = (record.partition, record.offset) if record is not None else None
        finding = Finding(kind, origin, follower, fields)
        if finding not in self.result.findings[-1000:]:
            self.result.findings.append(finding)


def _has_form_of_provenance(header: tuple[str, bytes | None]) -> bool:
    name, value = header
    return name == PROVENANCE and value is not None and len(value) == LAYOUT.size and value[0] == 1


def _disagreements(seen: CrossCheck, verdict: Verdict) -> Iterator[str]:
    """What one of the two says and the other denies, in words."""
    if seen.findings and verdict.result != "violated":
        for each in seen.findings:
            yield f"{_words(each)}, and the engine saw nothing of the kind"
        return
    places = {each.origin for each in seen.findings if each.origin} | {each.follower for each in seen.findings if each.follower}
    for sample in verdict.samples:
        if sample.kind in BLIND_TO or not _inside(sample, seen.scopes):
            continue
        if not {(each.partition, each.offset) for each in (sample.origin, sample.follower) if each} & places:
            yield f"the engine says {sample.kind} at {_place_words(sample)}, and the second reading saw nothing there"


def _inside(sample: Sample, scopes: Sequence[Scope]) -> bool:
    """Whether a window covers the place: the record on the follower, or where a missing one would have to be."""
    if sample.follower is not None:
        where = sample.follower
        return any(each.window.partition == where.partition and each.window.begin <= where.offset < each.window.end for each in scopes)
    if sample.origin is None:
        return False
    at, expected = sample.origin, sample.expected_partition
    spans = [each.origins.get(at.partition, (0, 0)) for each in scopes if sample.kind == "off_hash" or each.window.partition == expected]
    return any(begin <= at.offset < end for begin, end in spans)


def _words(finding: Finding) -> str:
    at = [f"origin {finding.origin[0]}@{finding.origin[1]}"] if finding.origin else []
    at += [f"follower {finding.follower[0]}@{finding.follower[1]}"] if finding.follower else []
    return f"the second reading says {finding.kind} at {', '.join(at)}"


def _place_words(sample: Sample) -> str:
    named = (("origin", sample.origin), ("follower", sample.follower))
    return ", ".join(f"{side} {place.partition}@{place.offset}" for side, place in named if place is not None)
