"""The second implementation by itself: over records in memory it finds what is planted, and contradicts a verdict that is wrong."""

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from cutover.engine import crosscheck
from cutover.engine.audit_events import Bounds, Coverage, Gap, Place, Sample, Verdict
from cutover.engine.auditing import AuditConfiguration
from cutover.engine.configuration import Topic
from cutover.engine.crosscheck import LAYOUT, PROVENANCE, CrossCheck, choose, cross_check
from cutover.errors import CrossCheckDisagrees
from cutover.model import Isolation, Record, TopicPartition
from cutover.partitioners import partition

RUN = bytes(range(8))
ORIGINS, FOLLOWERS, EACH = 2, 4, 60


class Memory:
    """A Reader over lists; what is not there any more is simply left out."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records

    def read(
        self,
        ranges: Mapping[TopicPartition, tuple[int, int]],
        isolation: Isolation = Isolation.READ_COMMITTED,
        *,
        timeout_seconds: float | None = None,
    ) -> Iterator[Record]:
        assert isolation is Isolation.READ_COMMITTED, timeout_seconds
        for where, (begin, end) in ranges.items():
            mine = [each for each in self.records if (each.topic, each.partition) == where and begin <= each.offset < end]
            yield from sorted(mine, key=lambda each: each.offset)


def configuration(**more: Any) -> AuditConfiguration:  # noqa: ANN401
    topics = [Topic(name=name, id=name, partitions=count, max_message_bytes=1) for name, count in (("s", ORIGINS), ("t", FOLLOWERS))]
    return AuditConfiguration(
        connection={},
        run_id=RUN.hex(),
        group="g",
        origin=topics[0],
        follower=topics[1],
        partitioner="murmur2",
        null_keys="keep_partition",
        **more,
    )


def natives() -> list[Record]:
    keys: dict[int, list[bytes]] = {number: [] for number in range(ORIGINS)}
    for number in range(200):
        key = b"k%d" % number
        keys[partition("murmur2", key, ORIGINS)].append(key)
    return [
        Record("s", number, offset, 1000 + offset, keys[number][offset % 20], b"v%d" % offset, (("a", b"1"), ("b", None)))
        for number in range(ORIGINS)
        for offset in range(EACH)
    ]


def copy_of(native: Record) -> Record:
    where = partition("murmur2", native.key or b"", FOLLOWERS)
    header = (PROVENANCE, LAYOUT.pack(1, RUN, 0, native.partition, native.offset))
    return dataclasses.replace(native, topic="t", partition=where, headers=(*native.headers, header))


def laid_down(copies: list[Record]) -> list[Record]:
    """Give each copy the next offset of its partition."""
    ends = dict.fromkeys(range(FOLLOWERS), 0)
    made = []
    for each in copies:
        made.append(dataclasses.replace(each, offset=ends[each.partition]))
        ends[each.partition] += 1
    return made


def verdict_over(records: list[Record], result: Any = "proved", samples: tuple[Sample, ...] = (), gaps: tuple[Gap, ...] = ()) -> Verdict:  # noqa: ANN401
    ends = {number: sum((each.topic, each.partition) == ("t", number) for each in records) for number in range(FOLLOWERS)}
    return Verdict(
        event="verdict",
        at_ms=0,
        window=1,
        result=result,
        standing=result,
        bounds=Bounds(
            from_=dict.fromkeys(range(ORIGINS), 0),
            until=dict.fromkeys(range(ORIGINS), EACH),
            follower_from=dict.fromkeys(range(FOLLOWERS), 0),
            follower_until=ends,
        ),
        pairs=(),
        pairs_total=0,
        pairs_equal=0,
        coverage=Coverage(expected=0, proved=0, unproved=0, later=0, gaps=gaps),
        violations={each.kind: 1 for each in samples},
        violations_exact=True,
        accepted={},
        samples=samples,
        digest_fields=("partition", "offset", "key", "value", "headers", "timestamp"),
        records_read=0,
        seconds=0,
        records_per_second=0,
        judged_per_second=0,
    )


def judge(copies: list[Record], size: int, **told: Any) -> CrossCheck:  # noqa: ANN401
    records = natives() + laid_down(copies)
    verdict = verdict_over(records, told.pop("result", "violated"), **told)
    return cross_check(Memory(records), configuration(), verdict, choose(verdict, 10_000, size))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_equal_pair_has_no_finding_in_windows_of_any_size(size: int) -> None:
    seen = judge([copy_of(each) for each in natives()], size, result="proved")
    assert not seen.findings
    assert seen.follower_records == ORIGINS * EACH


Plant = Callable[[list[Record]], list[Record]]
PLANTS: dict[str, tuple[Plant, str]] = {
    "a hole": (lambda copies: copies[:20] + copies[21:], "missing"),
    "the first one missing": (lambda copies: copies[1:], "missing"),
    "the last one missing": (lambda copies: copies[:-1], "missing"),
    "a duplicate": (lambda copies: [*copies[:30], copies[29], *copies[30:]], "duplicate"),
    "a value": (lambda copies: [*copies[:30], dataclasses.replace(copies[30], value=None), *copies[31:]], "changed"),
    "a time": (lambda copies: [*copies[:30], dataclasses.replace(copies[30], timestamp_ms=1), *copies[31:]], "changed"),
    "a header": (lambda copies: [*copies[:30], dataclasses.replace(copies[30], headers=copies[30].headers[1:]), *copies[31:]], "changed"),
    "no provenance": (lambda copies: [*copies, dataclasses.replace(copies[3], headers=())], "foreign"),
    "the wrong partition": (
        lambda copies: [*copies[:30], dataclasses.replace(copies[30], partition=(copies[30].partition + 1) % FOLLOWERS), *copies[31:]],
        "misplaced",
    ),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_found(name: str) -> None:
    plant, kind = PLANTS[name]
    assert kind in {each.kind for each in judge(plant([copy_of(each) for each in natives()]), 1000).findings}


@pytest.mark.parametrize("name", PLANTS)
def test_a_verdict_that_passes_over_a_fault_is_contradicted(name: str) -> None:
    with pytest.raises(CrossCheckDisagrees, match="the engine saw nothing of the kind"):
        judge(PLANTS[name][0]([copy_of(each) for each in natives()]), 1000, result="proved")


def test_a_fault_that_only_the_engine_sees_is_contradicted() -> None:
    place = Place(topic="t", partition=1, offset=0)
    with pytest.raises(CrossCheckDisagrees, match="the second reading saw nothing there"):
        judge([copy_of(each) for each in natives()], 1000, samples=(Sample(kind="changed", follower=place, why=""),))


def test_a_hole_that_only_the_engine_sees_is_contradicted_where_a_window_covers_it() -> None:
    native = natives()[10]
    place = Place(topic="s", partition=native.partition, offset=native.offset)
    expected = partition("murmur2", native.key or b"", FOLLOWERS)
    with pytest.raises(CrossCheckDisagrees):
        judge(
            [copy_of(each) for each in natives()],
            1000,
            samples=(Sample(kind="missing", origin=place, expected_partition=expected, why=""),),
        )


def test_a_key_outside_its_partition_on_the_origin_is_found_unless_accepted() -> None:
    other = next(each.key for each in natives() if each.partition == 1)
    last = (0, EACH - 1)
    records = [dataclasses.replace(each, key=other) if (each.partition, each.offset) == last else each for each in natives()]
    copies = laid_down([copy_of(each) for each in records])
    verdict = verdict_over(records + copies, "violated")
    seen = cross_check(Memory(records + copies), configuration(), verdict, choose(verdict, 1000))
    assert {(each.kind, each.origin) for each in seen.findings} == {("off_hash", last)}
    accepted = verdict_over(records + copies)
    assert not cross_check(Memory(records + copies), configuration(off_hash="accepted"), accepted, choose(accepted, 1000)).findings


def test_what_expired_on_the_origin_is_not_called_a_phantom() -> None:
    copies = laid_down([copy_of(each) for each in natives()])
    kept = [each for each in natives() if each.partition != 0 or each.offset >= 9]
    gap = Gap(side="origin", topic="s", partition=0, from_=0, until=9, records=9, why="")
    verdict = verdict_over(kept + copies, "unproved", gaps=(gap,))
    assert not cross_check(Memory(kept + copies), configuration(), verdict, choose(verdict, 1000)).findings


def test_windows_are_chosen_at_random_and_all_are_taken_when_they_are_few() -> None:
    verdict = verdict_over(natives() + laid_down([copy_of(each) for each in natives()]))
    everything = choose(verdict, 1000, 10)
    assert sum(each.end - each.begin for each in everything) == ORIGINS * EACH
    some = choose(verdict, 3, 10, random.Random(1))
    assert len(some) == 3
    assert set(some) <= set(everything)
    assert some != choose(verdict, 3, 10, random.Random(2))


def test_the_constants_of_the_format_are_the_documented_ones() -> None:
    assert (LAYOUT.size, PROVENANCE) == (25, "_cutover")
    assert crosscheck.WINDOW_OFFSETS == 2000
