"""The second derivation of positions equals a full scan, for every lineage, with gaps, lanes that lag and keys astray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover import positions
from cutover.lineage import Lineage
from cutover.model import Isolation, Record, TopicPartition
from cutover.positions import Counterpart, FollowerLog, Span

RUN = "00112233445566aa"
COUNTS = [(1, 1), (2, 4), (2, 3), (3, 2), (4, 2), (6, 9), (6, 4)]


@dataclass(frozen=True)
class Layout:
    """What a mirror wrote: follower partitions as records in order, and the end of each topic's partitions."""

    lineage: Lineage
    logs: Mapping[int, Sequence[Counterpart]]
    ends: Mapping[int, int]
    origin_ends: Mapping[int, int]

    def __call__(self, spans: Mapping[int, Span], /) -> Mapping[int, Sequence[Counterpart]]:
        assert all(0 <= begin < end <= self.ends[q] for q, (begin, end) in spans.items()), spans
        return {q: [each for each in self.logs[q] if begin <= each.at < end] for q, (begin, end) in spans.items()}


@st.composite
def layouts(draw: st.DrawFn, *, astray: bool = False, counts: tuple[int, int] | None = None) -> Layout:
    """Each step is one record of an origin partition, a gap of the origin, or a marker or gap of a follower partition."""
    lineage = Lineage(*(counts or draw(st.sampled_from(COUNTS))))
    origin_ends = dict.fromkeys(range(lineage.origin_count), 0)
    ends = dict.fromkeys(range(lineage.follower_count), 0)
    logs: dict[int, list[Counterpart]] = {q: [] for q in ends}
    steps = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 11), st.integers(0, 1_000)), max_size=120))
    for kind, number, choice in steps:
        p = number % lineage.origin_count
        if kind == 0:
            origin_ends[p] += 1 + choice % 5
        elif kind == 1:
            ends[choice % lineage.follower_count] += 1 + number
        else:
            children = range(lineage.follower_count) if astray and number == 0 else lineage.children(p)
            q = children[choice % len(children)]
            logs[q].append(Counterpart(ends[q], p, origin_ends[p]))
            ends[q] += 1
            origin_ends[p] += 1
    return Layout(lineage, logs, ends, origin_ends)


def vectors(data: st.DataObject, ends: Mapping[int, int]) -> dict[int, int]:
    return {p: data.draw(st.integers(0, end)) for p, end in ends.items()}


@given(st.data(), layouts(), st.integers(1, 7))
@settings(max_examples=400)
def test_to_follower_equals_a_full_scan(data: st.DataObject, layout: Layout, window: int) -> None:
    unread = vectors(data, layout.origin_ends)
    spans = {q: (begin, layout.ends[q]) for q, begin in vectors(data, layout.ends).items()}
    hints = vectors(data, layout.ends)
    derived = positions.to_follower(layout, layout.lineage, unread, spans, hints=hints, window_offsets=window)
    for q, (begin, end) in spans.items():
        assert derived[q] == next((each.at for each in layout.logs[q] if each.at >= begin and each.offset >= unread[each.partition]), end)


@given(st.data(), layouts(), st.integers(1, 7))
@settings(max_examples=400)
def test_to_origin_equals_a_full_scan(data: st.DataObject, layout: Layout, window: int) -> None:
    spans = {q: (begin, layout.ends[q]) for q, begin in vectors(data, layout.ends).items()}
    derived = positions.to_origin(layout, layout.lineage, spans, layout.origin_ends, window_offsets=window)
    for p, mirror in layout.origin_ends.items():
        unread = [each.offset for q, (begin, _) in spans.items() for each in layout.logs[q] if each.at >= begin and each.partition == p]
        assert derived[p] == min(unread, default=mirror)


@given(st.data(), layouts())
@settings(max_examples=200)
def test_nothing_is_lost_and_a_split_reads_nothing_again(data: st.DataObject, layout: Layout) -> None:
    unread = vectors(data, layout.origin_ends)
    spans = {q: (0, end) for q, end in layout.ends.items()}
    derived = positions.to_follower(layout, layout.lineage, unread, spans, window_offsets=3)
    missed = [each for q, log in layout.logs.items() for each in log if each.at < derived[q] and each.offset >= unread[each.partition]]
    assert missed == []
    if layout.lineage.kind == "nested":
        full = {q: (derived[q], end) for q, end in layout.ends.items() if derived[q] < end}
        again = positions.read_again(layout, {q: span[0] for q, span in full.items()}, layout.ends, unread)
        assert sum(again.values()) == 0


@given(st.data(), layouts(astray=True))
@settings(max_examples=200)
def test_a_key_off_its_hash_partition_is_asked_about_once_it_is_met(data: st.DataObject, layout: Layout) -> None:
    unread = vectors(data, layout.origin_ends)
    spans = {q: (0, end) for q, end in layout.ends.items()}
    derived = positions.to_follower(layout, layout.lineage, unread, spans, window_offsets=1_000)
    for q, (_, end) in spans.items():
        first = next((each for each in layout.logs[q] if each.offset >= unread[each.partition]), None)
        if first is not None and first.at >= end // 2:  # the first window shows it
            assert derived[q] == first.at


@dataclass(frozen=True)
class History:
    """A pair through its epochs: what each mirror wrote, shifted to where its epoch began on both topics."""

    layouts: Sequence[Layout]
    starts: Sequence[Mapping[str, Mapping[int, int]]]

    def span(self, number: int, topic: str) -> tuple[Mapping[int, int] | None, Mapping[int, int] | None]:
        end = self.starts[number + 1][topic] if number + 1 < len(self.layouts) else None
        return self.starts[number][topic], end

    def sides(self, number: int) -> tuple[str, str]:
        return ("target", "source") if number % 2 else ("source", "target")


@st.composite
def histories(draw: st.DrawFn) -> History:
    counts = draw(st.sampled_from(COUNTS))
    starts: list[Mapping[str, Mapping[int, int]]] = [
        {"source": dict.fromkeys(range(counts[0]), 0), "target": dict.fromkeys(range(counts[1]), 0)}
    ]
    made = []
    for number in range(draw(st.integers(1, 4))):
        origin, follower = ("target", "source") if number % 2 else ("source", "target")
        wrote = draw(layouts(counts=(counts[1], counts[0]) if number % 2 else counts))
        begun, written = starts[-1][origin], starts[-1][follower]
        logs = {
            q: [Counterpart(each.at + written[q], each.partition, each.offset + begun[each.partition]) for each in log]
            for q, log in wrote.logs.items()
        }
        ends = {q: end + written[q] for q, end in wrote.ends.items()}
        origin_ends = {p: end + begun[p] for p, end in wrote.origin_ends.items()}
        made.append(Layout(wrote.lineage, logs, ends, origin_ends))
        starts.append({origin: origin_ends, follower: ends})
    return History(made, starts)


def answers(history: History, given: str, vector: Mapping[int, int]) -> tuple[list[dict[int, int]], list[Mapping[int, int]]]:
    """Each epoch's answer, and where all but the last one ended on the other side."""
    found, ends = [], []
    for number, layout in enumerate(history.layouts):
        origin, follower = history.sides(number)
        part = positions.within(vector, *history.span(number, given))
        other = follower if given == origin else origin
        if given == origin:
            spans = {q: (begin, layout.ends[q]) for q, begin in history.starts[number][follower].items()}
            found.append(positions.to_follower(layout, layout.lineage, part, spans, window_offsets=3))
        else:
            found.append(
                positions.to_origin(layout, layout.lineage, {q: (part[q], end) for q, end in layout.ends.items()}, layout.origin_ends)
            )
        ends.append(history.starts[number + 1][other])
    return found, ends[:-1]


@given(st.data(), histories(), st.sampled_from(["source", "target"]))
@settings(max_examples=400)
def test_across_epochs_each_partition_is_read_from_the_first_unread_record_on(data: st.DataObject, history: History, side: str) -> None:
    vector = vectors(data, history.starts[-1][side])
    found, ends = answers(history, side, vector)
    other = "target" if side == "source" else "source"
    wanted = dict(history.starts[-1][other])
    for number, layout in enumerate(history.layouts):
        for q, log in layout.logs.items():
            for each in log:
                here, there = ((each.partition, each.offset), (q, each.at))
                (p, offset), (o, at) = (here, there) if history.sides(number)[0] == side else (there, here)
                if offset >= vector[p]:
                    wanted[o] = min(wanted[o], at)
    assert positions.compose(found, ends) == wanted


@given(histories(), st.sampled_from(["source", "target"]))
@settings(max_examples=100)
def test_at_a_cut_nothing_is_read_twice_and_nothing_is_lost(history: History, side: str) -> None:
    other = "target" if side == "source" else "source"
    for cut in history.starts[1:]:
        found, ends = answers(history, side, cut[side])
        composed = positions.compose(found, ends)
        for number, layout in enumerate(history.layouts):
            for q, log in layout.logs.items():
                for each in log:
                    p, at = (each.partition, each.offset) if history.sides(number)[0] == other else (q, each.at)
                    assert (at < composed[p]) == (at < cut[other][p])


def test_differences_name_both_values() -> None:
    assert positions.differences({0: 1, 1: 2}, {0: 1, 1: 3, 2: 4}) == {1: (2, 3), 2: (None, 4)}


GENUINE = bytes([1]) + bytes.fromhex(RUN) + (7).to_bytes(4, "big") + (3).to_bytes(4, "big") + (99).to_bytes(8, "big")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ((("a", b"1"), ("_cutover", GENUINE)), positions.Origin(RUN, 7, 3, 99)),
        ((("_cutover", GENUINE), ("a", b"1")), None),
        ((("_cutover", GENUINE[:-1]),), None),
        ((("_cutover", b"\x02" + GENUINE[1:]),), None),
        ((("_cutover", None),), None),
        ((), None),
    ],
)
def test_provenance_is_the_last_header_and_of_one_form(
    headers: tuple[tuple[str, bytes | None], ...], found: positions.Origin | None
) -> None:
    assert positions.provenance(headers) == found


class _Reader:
    def read(
        self,
        ranges: Mapping[TopicPartition, tuple[int, int]],
        isolation: Isolation = Isolation.READ_COMMITTED,
        *,
        timeout_seconds: float | None = None,
    ) -> "Sequence[Record]":
        del isolation, timeout_seconds
        marks = {0: GENUINE, 1: GENUINE[:9] + (8).to_bytes(4, "big") + GENUINE[13:], 2: b"\x01" + b"x" * 8 + GENUINE[9:]}
        return [
            Record(where.topic, where.partition, offset, 0, None, None, (("_cutover", marks[offset]),))
            for where, (begin, end) in ranges.items()
            for offset in range(begin, end)
        ]


def test_a_record_of_another_run_or_epoch_is_not_a_counterpart() -> None:
    log = FollowerLog(_Reader(), "t", RUN, 7)  # type: ignore[arg-type]
    assert log({4: (0, 3)}) == {4: [Counterpart(0, 3, 99)]}
