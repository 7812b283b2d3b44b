"""Drained is what can be read, not what the numbers say: markers, pending positions, what lies past the cut."""

import pytest

from cutover.drained import Draining, Look, look
from cutover.model import Committed, Isolation, TopicPartition
from cutover.twin import Twin

WHERE = TopicPartition("s", 0)


@pytest.fixture
def twin() -> Twin:
    made = Twin(seed=1)
    made.create_topic("s", 1, replication_factor=1)
    return made


def left(twin: Twin, until: int | None = None) -> str:
    end = twin.end_offsets([WHERE], Isolation.READ_UNCOMMITTED)[WHERE]
    return look(twin, twin, "g", {WHERE: end if until is None else until}).words()


def test_a_group_at_the_end_is_drained(twin: Twin) -> None:
    twin.append(WHERE, b"k", b"v")
    twin.alter_offsets("g", {WHERE: Committed(1)})
    assert left(twin) == ""


def test_a_record_past_the_position_is_left(twin: Twin) -> None:
    twin.append(WHERE, b"k", b"v")
    twin.append(WHERE, b"k", b"v")
    twin.alter_offsets("g", {WHERE: Committed(1)})
    assert left(twin) == "s-0: the record at 1 is not read"


def test_markers_and_aborted_records_alone_are_nothing_to_read(twin: Twin) -> None:
    producer = twin.producer("app")
    for finish in (producer.commit, producer.abort):
        producer.begin()
        producer.produce(WHERE, b"k", b"v")
        finish()
    twin.alter_offsets("g", {WHERE: Committed(1)})
    assert left(twin) == ""


def test_a_pending_position_is_not_known_even_where_the_old_one_was_the_end(twin: Twin) -> None:
    twin.append(WHERE, b"k", b"v")
    twin.alter_offsets("g", {WHERE: Committed(1)})
    producer = twin.producer("app")
    producer.begin()
    producer.send_offsets("g", {WHERE: Committed(0)})
    assert "pending" in left(twin)


def test_a_partition_without_a_position_is_drained_only_when_it_holds_nothing(twin: Twin) -> None:
    assert left(twin) == ""
    twin.append(WHERE, b"k", b"v")
    assert "the record at 0" in left(twin)


def test_what_retention_removed_is_not_left_to_read(twin: Twin) -> None:
    twin.append(WHERE, b"k", b"v")
    twin.append(WHERE, b"k", b"v")
    twin.alter_offsets("g", {WHERE: Committed(0)})
    twin.trim(WHERE, 2)
    assert left(twin) == ""


def test_several_partitions_are_told_by_the_first() -> None:
    assert Look({TopicPartition("s", 1): "b", WHERE: "a"}, 2).words() == "s-0: a (and 1 partitions more)"


def test_below_a_cut_nothing_counts_that_lies_past_it(twin: Twin) -> None:
    for _ in range(3):
        twin.append(WHERE, b"k", b"v")
    twin.alter_offsets("g", {WHERE: Committed(2)})
    assert left(twin, 2) == ""
    assert left(twin, 3) == "s-0: the record at 2 is not read"
    assert look(twin, twin, "g", {WHERE: 3}).offsets == 1


def test_the_pace_is_told_once_there_are_two_looks_and_a_standstill_is_said() -> None:
    pace = Draining()
    assert pace.after(1000, 10.0) == "its pace is being measured"
    assert pace.after(800, 12.0) == "100 offsets/s, about 8 s to go"
    assert Draining(_seen=[(0.0, 500)]).after(500, 30.0) == "it has not come closer for 30 s"
    assert pace.after(800, 500.0) == "its pace is being measured"
