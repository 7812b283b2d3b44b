"""What a client must do, one case per sentence. The suite plays the driver; what counts is what stands in the topics and the log."""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Producer, TopicPartition

from cutover.protocol import Ack, Expired, Join, Leave, Mode, Role, Side
from cutover.stamps import STAMP
from tests.conformance.driving import Driver, make_control_topic, make_topic, read_committed
from tests.conformance.subject import Nonconforming, Subject


@dataclass
class Stage:
    """A pair over two topics, a driver, and the clients of one case."""

    command: str
    driver: Driver
    source: str
    target: str
    subjects: list[Subject] = field(default_factory=list)
    group: str = field(default_factory=lambda: f"group-{uuid.uuid4().hex[:8]}")

    def start(self, role: str = "producer", **changed: Any) -> Subject:  # noqa: ANN401
        """Start an instance of the client."""
        start = {
            "bootstrap": self.driver.bootstrap,
            "control": self.driver.control,
            "topic": self.source,
            "role": role,
            "group": self.group,
            "instance": f"instance-{uuid.uuid4().hex[:8]}",
            "patience_seconds": 20,
        }
        self.subjects.append(Subject(self.command, start | changed))
        return self.subjects[-1]

    def joined(self, role: str = "producer", *, pair: bool = True) -> Subject:
        """An instance that has joined, with the pair open."""
        subject = self.start(role)
        if pair:
            self.driver.open(self.source, self.target)
        self.driver.until(lambda: subject.name in self.driver.state.instances, "it joins")
        return subject

    def read(self, topic: str) -> list[tuple[bytes | None, bytes | None, object]]:
        """Key, value and stamp of what stands in a topic, committed; in the order of their values."""
        found = read_committed(self.driver.bootstrap, topic, 2 if topic == self.source else 4)
        told = ((each.key(), each.value(), dict(each.headers() or []).get(STAMP)) for each in found)
        return sorted(told, key=lambda record: record[1] or b"")

    def write(self, topic: str, *values: str, partition: int = 0) -> None:
        """Write records as somebody else."""
        plain = Producer({"bootstrap.servers": self.driver.bootstrap})
        for value in values:
            plain.produce(topic, value, partition=partition)
        assert plain.flush(60) == 0


@contextmanager
def stage(command: str, bootstrap: str) -> Iterator[Stage]:
    """Topics of a case's own, removed after it."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap})
    control, source, target = make_control_topic(admin), make_topic(admin, "source", 2), make_topic(admin, "target", 4)
    with Driver(bootstrap, control) as driver:
        made = Stage(command, driver, source, target)
        try:
            yield made
        finally:
            for each in made.subjects:
                with contextlib.suppress(OSError):
                    each.kill()
            for future in admin.delete_topics([control, source, target]).values():
                future.exception(20)


def an_instance_joins_before_its_first_record_and_leaves_when_it_closes(here: Stage) -> None:
    subject = here.start()
    subject.produce("1")
    subject.acked("1", here.source)
    here.driver.until(lambda: subject.name in here.driver.state.instances, "JOIN stands in the log")
    join = next(record for _, record in here.driver.records if isinstance(record, Join))
    if (join.topic, join.role) != (here.source, Role.PRODUCER):
        raise Nonconforming(f"its JOIN says {join}")
    subject.close()
    here.driver.until(lambda: subject.name not in here.driver.state.instances, "LEAVE stands in the log")
    leave = next(record for _, record in here.driver.records if isinstance(record, Leave))
    if leave.session != join.session:
        raise Nonconforming("its LEAVE does not name the session of its JOIN")


def nothing_is_written_while_held_and_then_the_target(here: Stage) -> None:
    subject = here.joined()
    subject.produce("1")
    subject.acked("1", here.source)
    term = here.driver.hold(budget_ms=15000)
    ack = here.driver.all_held()[subject.name]
    subject.produce("2")
    subject.must_not(lambda: subject.heard("acked", "2"), "a record was written while producers were held")
    here.driver.release(term)
    subject.acked("2", here.target)
    first = subject.heard("acked", "1")[0]
    if ack.problem is None and dict(ack.offsets) != {first["partition"]: first["offset"]}:
        raise Nonconforming(f"it acknowledged {dict(ack.offsets)}, and its last record stands at {first}")


def an_undone_hold_leaves_everything_as_it_was(here: Stage) -> None:
    subject = here.joined()
    term = here.driver.hold(budget_ms=15000)
    here.driver.all_held()
    here.driver.undo(term)
    subject.produce("1")
    subject.acked("1", here.source)


def the_budget_passes_without_a_word_and_a_late_release_is_void(here: Stage) -> None:
    subject = here.joined()
    term = here.driver.hold(budget_ms=1000)
    subject.produce("1")
    here.driver.until(lambda: here.driver.expired(), "EXPIRED stands in the log")
    here.driver.release(term)
    subject.acked("1", here.source)
    subject.produce("2")
    subject.acked("2", here.source)


def another_instances_expired_decides_as_well(here: Stage) -> None:
    subject = here.joined()
    term = here.driver.hold(budget_ms=15000)
    here.driver.all_held()
    here.driver.say(Expired(instance="somebody-else", pair=here.driver.pair, term=term))
    here.driver.release(term)
    subject.produce("1")
    subject.acked("1", here.source)


def a_release_of_another_term_opens_nothing(here: Stage) -> None:
    subject = here.joined()
    first = here.driver.hold(budget_ms=15000)
    here.driver.all_held()
    second = here.driver.hold(budget_ms=15000)
    here.driver.all_held()
    here.driver.say(_release(here, first))
    subject.produce("1")
    subject.must_not(lambda: subject.heard("acked", "1"), "the release of a term that was superseded let it go on")
    here.driver.release(second)
    subject.acked("1", here.target)


def _release(here: Stage, term: int) -> Any:  # noqa: ANN401
    from cutover.protocol import Release
    from tests.conformance.driving import CUT

    return Release(type="TARGET", pair=here.driver.pair, term=term, epoch=here.driver.here.epoch + 1, cut=CUT)


def an_instance_that_starts_in_a_hold_waits(here: Stage) -> None:
    here.driver.open(here.source, here.target)
    term = here.driver.hold(budget_ms=15000)
    subject = here.start()
    subject.produce("1")
    here.driver.until(lambda: subject.name in here.driver.state.instances, "it joins")
    subject.must_not(lambda: subject.heard("acked", "1"), "a record was written while producers were held")
    here.driver.release(term)
    subject.acked("1", here.target)


def _enters_dual(here: Stage, subject: Subject) -> bool:
    """Whether it has entered DUAL. A client that cannot write both topics says so, and is not let go into it."""
    subject.produce("1")
    subject.acked("1", here.source)
    term = here.driver.hold(Mode.DUAL, budget_ms=15000)
    if here.driver.all_held()[subject.name].problem:
        here.driver.undo(term)
        return False
    here.driver.release(term, Mode.DUAL)
    return True


def _left_dual(here: Stage, to: Mode) -> None:
    subject = here.joined()
    if not _enters_dual(here, subject):
        return
    for value in ("2", "3"):
        subject.produce(value)
        subject.acked(value, here.source)
    term = here.driver.hold(to, budget_ms=15000)
    ack = here.driver.all_held()[subject.name]
    subject.produce("4")
    subject.must_not(lambda: subject.heard("acked", "4"), "a record was written while producers were held")
    here.driver.release(term, to)
    subject.acked("4", here.target if to is Mode.TARGET else here.source)
    _both_have(here, "2", "3")
    last = subject.heard("acked", "3")[0]
    if ack.problem is None and dict(ack.offsets) != {last["partition"]: last["offset"]}:
        raise Nonconforming(f"it acknowledged {dict(ack.offsets)}, and its last record on the source stands at {last}")


def _both_have(here: Stage, *values: str) -> None:
    """These values, each with a stamp of its own, and no others with one."""
    source, target = ([record for record in here.read(topic) if record[2] is not None] for topic in (here.source, here.target))
    told = [value for _, value, _ in source]
    if source != target or told != [each.encode() for each in values] or len({stamp for *_, stamp in source}) < len(values):
        raise Nonconforming(f"of what was written to both, the source has {source} and the target {target}")


def dual_writes_both_topics_and_is_left_to_the_target(here: Stage) -> None:
    _left_dual(here, Mode.TARGET)


def dual_writes_both_topics_and_is_left_to_the_source(here: Stage) -> None:
    _left_dual(here, Mode.SOURCE)


def an_instance_that_starts_in_dual_writes_both_topics(here: Stage) -> None:
    if not _enters_dual(here, here.joined()):
        return
    subject = here.start()
    subject.produce("2")
    subject.acked("2", here.source)
    _both_have(here, "2")


def back_to_the_source(here: Stage) -> None:
    subject = here.joined()
    here.driver.flip(Mode.TARGET)
    here.driver.flip(Mode.SOURCE)
    subject.produce("1")
    subject.acked("1", here.source)


def a_record_that_it_cannot_read_stops_it(here: Stage) -> None:
    subject = here.joined()
    here.driver.whisper(b'{"v": 1, "type": "LATER"}')
    subject.must_not(lambda: False, "", 0.5)
    subject.produce("1")
    subject.must_not(lambda: subject.heard("acked", "1"), "it wrote although it cannot know where to", 2.0)


def a_missing_control_topic_stops_it_and_is_not_created(here: Stage) -> None:
    missing = f"missing-{uuid.uuid4().hex[:8]}"
    subject = here.start(control=missing, patience_seconds=1)
    subject.produce("1")
    subject.must_not(lambda: subject.heard("acked", "1"), "it wrote without a control topic", 3.0)
    if missing in here.driver.admin.list_topics(timeout=10).topics:
        raise Nonconforming("it created the control topic")


def a_person_says_it_is_gone_and_it_joins_again(here: Stage) -> None:
    subject = here.joined()
    session = here.driver.state.instances[subject.name].joined.session
    here.driver.forget(subject.name)
    here.driver.until(
        lambda: (known := here.driver.state.instances.get(subject.name)) and known.joined.session != session, "it joins under a new session"
    )
    subject.produce("1")
    subject.acked("1", here.source)


def a_stopped_member_gets_nothing_and_goes_on_where_it_was(here: Stage) -> None:
    subject = here.joined("consumer")
    here.write(here.source, "1")
    subject.must(lambda: subject.heard("received", "1"), "it receives")
    term = here.driver.stop(here.group)
    ack = here.driver.all_stopped(here.group)[subject.name]
    if ack.offsets.get(0) != 1:
        raise Nonconforming(f"it acknowledged {dict(ack.offsets)} and had worked on partition 0 up to 1")
    here.write(here.source, "2")
    subject.must_not(lambda: subject.heard("received", "2"), "a record was handed out while the group was stopped")
    here.driver.read(here.group, term, Side.SOURCE)
    subject.must(lambda: subject.heard("received", "2"), "it goes on")


def a_moved_member_starts_from_the_positions_that_were_written(here: Stage) -> None:
    subject = here.joined("consumer")
    here.write(here.source, "1")
    subject.must(lambda: subject.heard("received", "1"), "it receives")
    here.write(here.target, "1", "2", partition=1)
    term = here.driver.stop(here.group)
    here.driver.all_stopped(here.group)
    here.driver.commit_positions(here.group, [TopicPartition(here.target, p, 1 if p == 1 else 0) for p in range(4)])
    here.driver.read(here.group, term, Side.TARGET)
    subject.must(lambda: subject.heard("received", "2"), "it goes on on the target", 40)
    if len(subject.heard("received", "1")) != 1:
        raise Nonconforming("it read a record again")


def a_moved_member_without_a_position_gets_nothing(here: Stage) -> None:
    subject = here.joined("consumer")
    here.write(here.target, "1", partition=3)
    term = here.driver.stop(here.group)
    here.driver.all_stopped(here.group)
    here.driver.commit_positions(here.group, [TopicPartition(here.target, p, 0) for p in range(3)])
    here.driver.read(here.group, term, Side.TARGET)
    subject.must_not(lambda: subject.heard("received", "1"), "it fell back on its reset policy", 8.0)


def a_member_reads_on_to_the_cut_and_not_past_it(here: Stage) -> None:
    subject = here.joined("consumer")
    here.write(here.source, "1")
    subject.must(lambda: subject.heard("received", "1"), "it receives")
    term = here.driver.stop(here.group)
    here.driver.all_stopped(here.group)
    here.write(here.source, "2", "3")
    here.driver.until_offsets(here.group, term, {0: 2, 1: 0})
    acks = here.driver.all_stopped(here.group)
    if not acks[subject.name].until or acks[subject.name].offsets.get(0) != 2:
        raise Nonconforming(f"it acknowledged {acks[subject.name]}")
    subject.must_not(lambda: subject.heard("received", "3"), "it read past the cut")
    here.driver.read(here.group, term, Side.SOURCE)
    subject.must(lambda: subject.heard("received", "3"), "it goes on")


def a_member_that_joins_a_stopped_group_gets_nothing(here: Stage) -> None:
    here.driver.open(here.source, here.target)
    here.write(here.source, "1")
    term = here.driver.stop(here.group)
    subject = here.start("consumer")
    here.driver.until(lambda: subject.name in here.driver.state.instances, "it joins")
    subject.must_not(lambda: subject.heard("received"), "a record was handed out while the group was stopped", 2.0)
    here.driver.read(here.group, term, Side.SOURCE)
    subject.must(lambda: subject.heard("received", "1"), "it goes on")


def a_members_budget_passes_and_it_goes_on_where_it_was(here: Stage) -> None:
    subject = here.joined("consumer")
    term = here.driver.stop(here.group, budget_ms=1000)
    here.driver.until(lambda: here.driver.expired(), "EXPIRED stands in the log")
    here.driver.read(here.group, term, Side.TARGET)
    here.write(here.source, "1")
    subject.must(lambda: subject.heard("received", "1"), "it goes on where it was")
    if any(isinstance(record, Ack) and record.term != term for _, record in here.driver.records):
        raise Nonconforming("it acknowledged a term that was never asked for")


CASES: tuple[Callable[[Stage], None], ...] = (
    an_instance_joins_before_its_first_record_and_leaves_when_it_closes,
    nothing_is_written_while_held_and_then_the_target,
    an_undone_hold_leaves_everything_as_it_was,
    the_budget_passes_without_a_word_and_a_late_release_is_void,
    another_instances_expired_decides_as_well,
    a_release_of_another_term_opens_nothing,
    an_instance_that_starts_in_a_hold_waits,
    dual_writes_both_topics_and_is_left_to_the_target,
    dual_writes_both_topics_and_is_left_to_the_source,
    an_instance_that_starts_in_dual_writes_both_topics,
    back_to_the_source,
    a_record_that_it_cannot_read_stops_it,
    a_missing_control_topic_stops_it_and_is_not_created,
    a_person_says_it_is_gone_and_it_joins_again,
    a_stopped_member_gets_nothing_and_goes_on_where_it_was,
    a_moved_member_starts_from_the_positions_that_were_written,
    a_moved_member_without_a_position_gets_nothing,
    a_member_reads_on_to_the_cut_and_not_past_it,
    a_member_that_joins_a_stopped_group_gets_nothing,
    a_members_budget_passes_and_it_goes_on_where_it_was,
)
