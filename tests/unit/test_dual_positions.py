"""Positions while both topics are written, against a full scan: whatever the order of two writers on either topic."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.engine import dual_positions
from cutover.engine.dual_positions import Side, Twinned
from cutover.errors import RangeUnreadable, TranslationsDiffer
from cutover.model import TopicPartition
from cutover.stamps import STAMP, Stamp
from cutover.twin import Twin

SOURCE, TARGET = 2, 4
KEYS = 8


def topics() -> Twin:
    made = Twin(seed=1)
    made.create_topic("s", SOURCE, replication_factor=1)
    made.create_topic("t", TARGET, replication_factor=1)
    return made


def written(twin: Twin, rng: random.Random, records: int, *, stamped: bool) -> list[tuple[TopicPartition, int, TopicPartition, int]]:
    """Two writers with keys of their own, in another order on each topic; every record's place on both."""
    of = {writer: [(key, number) for number in range(records) for key in [rng.randrange(KEYS // 2) * 2 + writer]] for writer in (0, 1)}
    places: dict[tuple[int, int], list[tuple[TopicPartition, int]]] = {}
    for topic, count in (("s", SOURCE), ("t", TARGET)):
        left = {writer: list(each) for writer, each in of.items()}
        while any(left.values()):
            writer = rng.choice([each for each in left if left[each]])
            key, number = left[writer].pop(0)
            headers = ((STAMP, Stamp(f"w{writer}", "7f", 1, number).encoded()),) if stamped else ()
            where = TopicPartition(topic, key % count)
            at = twin.append(where, b"%d" % key, b"%d" % number, headers=headers)
            places.setdefault((writer, number), []).append((where, at))
    return [(*here, *there) for here, there in places.values()]


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(0, 30), st.booleans(), st.booleans())
def test_the_answer_is_the_first_unread_record_and_counts_what_is_read_again(seed: int, records: int, stamped: bool, back: bool) -> None:
    rng, twin = random.Random(seed), topics()
    places = written(twin, rng, records, stamped=stamped)
    turned = [(there, other, here, at) for here, at, there, other in places] if back else places
    here, there = (Side("t", dict.fromkeys(range(TARGET), 0)), Side("s", dict.fromkeys(range(SOURCE), 0)))[:: 1 if back else -1]
    ends = {p: sum(each[0].partition == p for each in turned) for p in here.cut}
    position = {p: rng.randint(0, end) for p, end in ends.items()}

    found = dual_positions.translate(twin, twin, here, there, position)

    unread = [(where.partition, at) for given_at, offset, where, at in turned if offset >= position[given_at.partition]]
    read = [(where.partition, at) for given_at, offset, where, at in turned if offset < position[given_at.partition]]
    first = {p: min([at for q, at in unread if q == p], default=found.looked_at[p]) for p in there.cut}
    assert found.positions == first
    assert all(at >= first[p] for p, at in unread)  # also of what was not looked at
    assert found.duplicates == sum(at >= first[p] for p, at in read)
    dual_positions.verify(twin, twin, found)


def both(twin: Twin, records: int) -> None:
    """Records of one key on both topics."""
    for number in range(records):
        headers = ((STAMP, Stamp("w", "7f", 1, number).encoded()),)
        for topic in "st":
            twin.append(TopicPartition(topic, 0), b"k", b"v", headers=headers)


def one_of_two_read() -> tuple[Twin, Twinned]:
    twin = topics()
    both(twin, 2)
    cut = {topic: Side(topic, dict.fromkeys(range(count), 0)) for topic, count in (("s", SOURCE), ("t", TARGET))}
    return twin, dual_positions.translate(twin, twin, cut["s"], cut["t"], {0: 1, 1: 0})


def test_a_wrong_answer_is_found_by_the_second_derivation() -> None:
    twin, found = one_of_two_read()
    assert found.positions == {0: 1, 1: 0, 2: 0, 3: 0}
    with pytest.raises(TranslationsDiffer) as differ:
        dual_positions.verify(twin, twin, replace(found, positions={**found.positions, 0: 0}))
    assert differ.value.fields["differences"] == {"0": [0, 1]}


def test_a_miscounted_answer_is_found_as_well() -> None:
    twin, found = one_of_two_read()
    for wrong in (replace(found, duplicates=1), replace(found, looked_at=found.there.cut, positions=found.there.cut)):
        with pytest.raises(TranslationsDiffer):
            dual_positions.verify(twin, twin, wrong)


def test_a_group_that_lags_is_not_waited_for_until_everything_that_it_has_not_read_is_looked_at() -> None:
    twin = topics()
    both(twin, 5000)
    here, there = Side("s", {0: 0, 1: 0}), Side("t", dict.fromkeys(range(TARGET), 0))
    beats: list[None] = []
    found = dual_positions.translate(twin, twin, here, there, {0: 4500, 1: 0}, lambda: beats.append(None))
    assert found.positions == found.looked_at == {0: 4500, 1: 0, 2: 0, 3: 0}
    assert len(beats) == 2 * 3  # all that it has read, on either side, and the lease is kept meanwhile
    twin.append(TopicPartition("t", 0), b"k", b"behind what concerns it", headers=())
    dual_positions.verify(twin, twin, found, lambda: beats.append(None))


def test_a_record_there_that_no_writer_of_the_library_wrote_is_read_again_rather_than_lost() -> None:
    twin = topics()
    twin.append(TopicPartition("t", 0), b"stranger", b"v")
    both(twin, 2)
    here, there = Side("s", {0: 0, 1: 0}), Side("t", dict.fromkeys(range(TARGET), 0))
    found = dual_positions.translate(twin, twin, here, there, {0: 2, 1: 0})
    assert (found.positions, found.duplicates) == ({0: 0, 1: 0, 2: 0, 3: 0}, 2)
    with pytest.raises(TranslationsDiffer):  # and nobody is let go beside a record that only one topic has
        dual_positions.verify(twin, twin, found)


def test_a_transaction_that_stays_open_is_waited_for_and_then_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dual_positions, "SETTLE_SECONDS", 0.05)
    twin, _ = one_of_two_read()
    producer = twin.producer("app")
    producer.begin()
    producer.produce(TopicPartition("t", 0), b"k", b"v")
    here, there = Side("s", {0: 0, 1: 0}), Side("t", dict.fromkeys(range(TARGET), 0))
    with pytest.raises(RangeUnreadable, match="a transaction on t stays open"):
        dual_positions.translate(twin, twin, here, there, {0: 2, 1: 0})
