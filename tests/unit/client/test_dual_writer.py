"""What each record of a batch is told, for every way in which its transaction can go."""

import time
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from cutover.client.deliveries import Deliveries
from cutover.client.dual import Dual, Entry
from cutover.client.dual_writer import Answers, DualWriter
from cutover.client.settings import split
from cutover.client.transactor import HELD
from cutover.stamps import stamped

DUAL = Dual("p", "S", "T", epoch=1, instance="a", session="7f", partitions=(2, 4), null_keys="keep_partition")
FAIL = KafkaError(KafkaError._TIMED_OUT)
SIZE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)


class Log:
    """Stands for a Transactor and the two topics; `fails` names the calls that raise next, each once."""

    def __init__(self, *_: object) -> None:
        self.fails: dict[str, KafkaError] = {}
        self.commits_all_the_same = False
        self.open_: list[tuple[str, bytes | None]] = []
        self.written: list[tuple[str, bytes | None]] = []
        self.epochs = 0
        self.fenced: KafkaError | None = None

    def _call(self, name: str) -> None:
        if name in self.fails:
            raise KafkaException(self.fails.pop(name))

    def open(self, _: float) -> None:
        self._call("open")
        self.epochs += 1
        self.open_, self.fenced = [], None

    def begin(self, _: float) -> None:
        if self.fenced is not None:
            raise KafkaException(self.fenced)
        self._call("begin")
        self.open_ = []

    def produce(self, topic: str, value: bytes | None, key: bytes, partition: int, callback: Callable[..., None], **_: Any) -> None:  # noqa: ANN401
        self._call(f"produce {topic} {(value or b'').decode()}")
        self.open_.append((topic, value))
        callback(None, Message(topic=topic, partition=partition, offset=len(self.open_), key=key, value=value))

    def spoil(self, _: KafkaError) -> None:
        """What follows is an abort."""

    def complete(self, _: float) -> None:
        self._call("complete")

    def commit(self, _: float) -> None:
        if "commit" in self.fails and self.commits_all_the_same:
            self.written += self.open_
        self._call("commit")
        self.written += self.open_

    def abandon(self, _: float) -> None:
        self.epochs += 1
        self.open_ = []

    def values(self, topic: str) -> list[bytes | None]:
        return [value for each, value in self.written if each == topic]


class Case:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, patience: float = 60.0) -> None:
        self.log = Log()
        self.sees = True
        self.looks: list[int] = []
        monkeypatch.setattr("cutover.client.dual_writer.Transactor", lambda *_: self.log)
        monkeypatch.setattr("cutover.client.dual_writer.sighted", self._sighted)
        monkeypatch.setattr("cutover.client.dual_writer.PAUSE_SECONDS", 0.001)
        monkeypatch.setattr("cutover.client.dual_writer.SETTLE_SECONDS", 0.05)
        self.deliveries = Deliveries(None, only_errors=False)
        self.answers = Answers(self.deliveries)
        settings = split(({"message.timeout.ms": int(patience * 1000)},), {})
        self.writer = DualWriter(DUAL, settings, lambda _: True, self.answers)
        self.told: dict[bytes | None, str | None] = {}

    def _sighted(self, _: object, entry: Entry) -> bool | None:
        self.looks.append(self.log.epochs)
        return entry.value in self.log.values("S") if self.sees else None

    def _hear(self, error: KafkaError | None, message: Message) -> None:
        assert message.topic() == "S"
        assert message.value() not in self.told, "told twice"
        self.told[message.value()] = None if error is None else error.str()

    def put(self, *values: bytes) -> None:
        for value in values:
            headers = stamped(None, DUAL.stamp(len(self.told)))
            self.writer.put(Entry(DUAL, value, b"key", -1, 1, headers, self._hear, time.monotonic()))
            self.deliveries.sent["S"] += 1

    def run(self, *values: bytes) -> None:
        self.put(*values)
        self.writer.start()
        self.end()

    def end(self) -> None:
        deadline = time.monotonic() + 90
        while (len(self.writer) or len(self.answers)) and time.monotonic() < deadline:
            self.answers.wait(0.01)
            self.answers.serve()
        self.writer.end()
        assert self.deliveries.pending("S") == 0


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(monkeypatch)


def test_a_clean_batch_is_written_to_both_in_order_and_told(case: Case) -> None:
    case.run(b"1", b"2", b"3")
    assert case.told == {b"1": None, b"2": None, b"3": None}
    assert case.log.written == [(topic, value) for value in (b"1", b"2", b"3") for topic in ("S", "T")]


@pytest.mark.parametrize("call", ["begin", "complete"])
def test_what_surely_stands_nowhere_is_written_again_in_its_order(case: Case, call: str) -> None:
    case.log.fails[call] = FAIL
    case.run(b"1", b"2")
    assert case.told == {b"1": None, b"2": None}
    assert case.log.values("S") == case.log.values("T") == [b"1", b"2"]
    assert case.log.epochs == 1


@pytest.mark.parametrize("topic", ["S", "T"])
def test_a_record_that_is_refused_on_either_topic_is_on_neither_and_the_others_on_both(case: Case, topic: str) -> None:
    case.log.fails[f"produce {topic} 2"] = SIZE
    case.run(b"1", b"2", b"3")
    assert {value: told and "neither topic" in told for value, told in case.told.items()} == {b"1": None, b"2": True, b"3": None}
    assert case.log.values("S") == case.log.values("T") == [b"1", b"3"]


def test_a_record_is_given_up_after_its_message_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(monkeypatch, patience=0.001)
    case.log.fails["complete"] = FAIL
    case.put(b"1")
    time.sleep(0.01)
    case.writer.start()
    case.end()
    assert "neither topic" in (case.told[b"1"] or "")
    assert case.deliveries.doubtful["S"] == 0


@pytest.mark.parametrize(("committed", "sees", "opens"), list(product((True, False), repeat=3)))
def test_an_unanswered_commit_is_looked_up_after_the_epoch_is_over_and_never_tried_again(
    case: Case, monkeypatch: pytest.MonkeyPatch, committed: bool, sees: bool, opens: bool
) -> None:
    case.log.fails["commit"] = FAIL
    case.log.commits_all_the_same, case.sees = committed, sees
    if not opens:
        monkeypatch.setattr(case.log, "open", failing)
    case.run(b"1", b"2")
    words = set(case.told.values())
    assert case.log.values("S") == case.log.values("T") == ([b"1", b"2"] if committed else [])
    assert case.looks == ([1] if opens else [])
    if opens and sees:
        assert (words == {None}) is committed
        assert committed or all("neither topic" in (each or "") for each in words)
    else:
        assert all("not known" in (each or "") for each in words)
    assert case.deliveries.doubtful["S"] == (0 if opens and sees else 2)


def failing(_: float) -> None:
    raise KafkaException(FAIL)


FENCE = KafkaError(KafkaError._FENCED)


@pytest.mark.parametrize("call", ["begin", "complete"])
def test_who_was_shut_out_takes_a_new_epoch_and_writes_again_what_stands_nowhere(case: Case, call: str) -> None:
    def refused(_: float) -> None:
        setattr(case.log, call, before)
        case.log.fenced = FENCE
        raise KafkaException(FENCE)

    before = getattr(case.log, call)
    setattr(case.log, call, refused)
    case.run(b"1", b"2")
    assert case.told == {b"1": None, b"2": None}
    assert case.log.values("S") == case.log.values("T") == [b"1", b"2"]
    assert (case.log.fenced, case.log.epochs) == (None, 1)


def test_who_was_shut_out_writes_nothing_while_the_log_forbids_it_and_its_records_can_be_recalled(case: Case) -> None:
    case.log.fenced = FENCE
    case.log.begin = forbidden  # type: ignore[method-assign]
    case.put(b"1", b"2")
    case.writer.start()
    deadline = time.monotonic() + 90
    while case.log.epochs == 0 and time.monotonic() < deadline:
        time.sleep(0.001)
    back: list[Entry] = []
    while len(back) < 2 and time.monotonic() < deadline:
        back += case.writer.recall()
    assert [each.value for each in back] == [b"1", b"2"]
    assert (case.log.written, case.told) == ([], {})
    case.deliveries.sent["S"] -= 2
    case.end()


def forbidden(_: float) -> None:
    raise KafkaException(HELD)


def test_fenced_in_the_commit_it_looks_once_its_own_epoch_is_the_newest(case: Case) -> None:
    def commit(_: float) -> None:
        case.log.written += case.log.open_
        case.log.fenced = KafkaError(KafkaError._FENCED)
        raise KafkaException(case.log.fenced)

    case.log.commit = commit  # type: ignore[method-assign]
    case.run(b"1")
    assert (case.told, case.looks, case.log.epochs) == ({b"1": None}, [1], 1)


def test_what_is_queued_when_the_mode_ends_is_written_nowhere_and_told_so(case: Case) -> None:
    case.put(b"1")
    case.writer.end()
    case.writer.start()
    case.end()
    assert case.log.written == []
    assert "neither topic" in (case.told[b"1"] or "")


def test_what_nobody_foresaw_is_told_as_unknown_and_the_next_batch_is_written(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_: float) -> None:
        monkeypatch.undo()
        raise SystemError("a callback returned a result with an exception set")

    monkeypatch.setattr(case.log, "complete", breaks)
    case.put(b"1")
    case.writer.start()
    deadline = time.monotonic() + 90
    while not len(case.answers) and time.monotonic() < deadline:
        time.sleep(0.001)
    case.put(b"2")
    case.end()
    assert "not known" in (case.told[b"1"] or "")
    assert case.told[b"2"] is None


def test_what_is_not_begun_can_be_called_back_in_its_order(case: Case) -> None:
    case.put(b"1", b"2")
    back = case.writer.recall()
    assert [each.arguments() for each in back] == [(value, b"key", -1, 1, None) for value in (b"1", b"2")]
    case.deliveries.sent["S"] -= 2
    assert len(case.writer) == 0
    case.run(b"3")
    assert case.told == {b"3": None}


def test_a_callback_that_raises_leaves_the_rest_to_the_next_poll(case: Case) -> None:
    def angry(*_: object) -> None:
        raise ValueError("mine")

    case.answers.put(angry, None, Message(topic="S"))
    case.answers.put(case._hear, None, Message(topic="S", value=b"2"))
    with pytest.raises(ValueError, match="mine"):
        case.answers.serve()
    case.answers.serve()
    assert case.told == {b"2": None}


@pytest.mark.parametrize("problem", [None, FAIL])
def test_what_stands_against_being_ready_is_told_in_words(case: Case, problem: KafkaError | None) -> None:
    if problem is not None:
        case.log.fails["open"] = problem
    assert case.writer.prepare(1) == (problem and problem.str())
