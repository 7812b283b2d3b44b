from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from cutover.client.transactor import HELD, SLOW_SECONDS, SLOW_WRITE_SECONDS, Transactor


class World:
    """Stands for librdkafka: instances in the order they were made, and a clock that calls make pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self.instances: list[Instance] = []
        self.lasts: dict[str, float] = {}
        self.raises: dict[str, KafkaError] = {}
        self.breaks: dict[str, SystemError] = {}
        self.log_allows = True
        self.asked: list[int] = []

    def may_write(self, _: float) -> bool:
        self.asked.append(len(self.instances))
        return self.log_allows

    def call(self, name: str) -> None:
        self.now += self.lasts.get(name, 0.001)
        if name in self.breaks:
            raise self.breaks[name]
        if name in self.raises:
            raise KafkaException(self.raises[name])


class Instance:
    def __init__(self, world: World, logger: Any) -> None:  # noqa: ANN401
        self.world, self.logger = world, logger
        self.reports: list[Callable[..., None]] = []
        self.lost = 0
        self.purged = False
        world.instances.append(self)

    def __getattr__(self, name: str) -> Callable[..., int]:
        def called(*_: object) -> int:
            self.world.call(name)
            return 0

        return called

    def produce(self, topic: str, *arguments: object, **_: object) -> None:
        self.reports.append(lambda error: arguments[3](error, Message(topic=topic)))  # type: ignore[operator]

    def purge(self) -> None:
        self.purged = True

    def flush(self, _: float) -> int:
        self.world.call("flush")
        due, self.reports = self.reports[self.lost :], []
        for each in due:
            each(self.world.raises.get("report"))
        return 0


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr("cutover.client.transactor.Producer", lambda _, logger: Instance(world, logger))
    monkeypatch.setattr("cutover.client.transactor.time.monotonic", lambda: world.now)
    return world


@pytest.fixture
def transactor(world: World) -> Transactor:
    made = Transactor({}, ("S", "T"), world.may_write)
    made.open(1)
    assert len(world.instances) == 1
    return made


def transaction(transactor: Transactor) -> None:
    transactor.begin(1)
    transactor.produce("S", b"", b"", -1, lambda *_: None)
    transactor.send_offsets([], None, 1)
    transactor.complete(1)
    transactor.commit(1)


def test_clean_transactions_share_an_instance(world: World, transactor: Transactor) -> None:
    for _ in range(5):
        transaction(transactor)
    assert len(world.instances) == 1


@pytest.mark.parametrize("call", ["begin_transaction", "send_offsets_to_transaction", "flush", "commit_transaction"])
def test_any_slow_call_makes_the_next_transaction_begin_on_a_new_instance(world: World, transactor: Transactor, call: str) -> None:
    world.lasts[call] = SLOW_WRITE_SECONDS if call == "flush" else SLOW_SECONDS
    transaction(transactor)
    world.lasts.clear()
    assert len(world.instances) == 1
    transaction(transactor)
    transaction(transactor)
    assert len(world.instances) == 2


def test_writing_may_take_its_time(world: World, transactor: Transactor) -> None:
    world.lasts["flush"] = SLOW_WRITE_SECONDS - 0.01
    transaction(transactor)
    transaction(transactor)
    assert len(world.instances) == 1


def test_a_line_in_the_log_makes_the_next_transaction_begin_on_a_new_instance(world: World, transactor: Transactor) -> None:
    transactor.begin(1)
    world.instances[0].logger.log(20, "TxnCoordinator: Disconnected")
    transactor.complete(1)
    transactor.commit(1)
    transaction(transactor)
    assert len(world.instances) == 2


@pytest.mark.parametrize(("code", "fenced"), [(KafkaError._FENCED, True), (KafkaError.INVALID_TXN_STATE, False)])
@pytest.mark.parametrize("where", ["poll", "flush"])
def test_a_fatal_error_that_hides_behind_a_callback_is_what_is_raised(
    world: World, transactor: Transactor, where: str, code: int, fenced: bool
) -> None:
    transactor.begin(1)
    hidden = SystemError("a callback returned a result with an exception set")
    hidden.__cause__ = KafkaException(KafkaError(code, "fatal", True))
    world.breaks[where] = hidden
    with pytest.raises(KafkaException) as raised:
        transactor.complete(1) if where == "flush" else transactor.poll(1)
    assert raised.value.args[0].code() == code
    world.breaks.clear()
    assert (transactor.fenced is not None) is fenced
    if not fenced:
        transaction(transactor)
        assert len(world.instances) == 2


def test_another_system_error_is_nobodys(world: World, transactor: Transactor) -> None:
    world.breaks["flush"] = SystemError("else")
    transactor.begin(1)
    with pytest.raises(SystemError):
        transactor.complete(1)


def test_an_old_instances_log_concerns_nobody(world: World, transactor: Transactor) -> None:
    transactor.open(1)
    world.instances[0].logger.log(20, "late")
    transaction(transactor)
    assert len(world.instances) == 2


def test_a_failed_call_makes_the_next_transaction_begin_on_a_new_instance(world: World, transactor: Transactor) -> None:
    world.raises["commit_transaction"] = KafkaError(KafkaError._TIMED_OUT)
    with pytest.raises(KafkaException):
        transaction(transactor)
    world.raises.clear()
    transaction(transactor)
    assert len(world.instances) == 2


@pytest.mark.parametrize("fails", [True, False])
def test_an_abandoned_transaction_is_followed_by_a_new_instance(world: World, transactor: Transactor, fails: bool) -> None:
    if fails:
        world.raises["abort_transaction"] = KafkaError(KafkaError._TIMED_OUT)
    transactor.begin(1)
    transactor.abandon(1)
    transaction(transactor)
    assert len(world.instances) == 2


def test_the_log_is_asked_once_for_each_epoch_and_after_it_has_begun(world: World, transactor: Transactor) -> None:
    transaction(transactor)
    transaction(transactor)
    world.lasts["commit_transaction"] = 1.0
    transaction(transactor)
    world.lasts.clear()
    transaction(transactor)
    assert world.asked == [1, 2]


def test_nothing_begins_while_the_log_forbids_it(world: World, transactor: Transactor) -> None:
    world.log_allows = False
    for _ in range(2):
        with pytest.raises(KafkaException) as raised:
            transactor.begin(1)
        assert raised.value.args[0] is HELD
    world.log_allows = True
    transaction(transactor)
    assert (len(world.instances), world.asked) == (1, [1, 1, 1])


@pytest.mark.parametrize("where", ["report", "begin_transaction", "abort_transaction"])
def test_a_fence_is_seen_wherever_it_shows(world: World, transactor: Transactor, where: str) -> None:
    world.raises[where] = KafkaError(KafkaError.INVALID_PRODUCER_EPOCH)
    with pytest.raises(KafkaException):
        begun_and_aborted(transactor)
    assert transactor.fenced is not None


def begun_and_aborted(transactor: Transactor) -> None:
    transaction(transactor)
    transactor.abort(1)


def test_a_new_instance_that_fails_is_not_used(world: World, transactor: Transactor) -> None:
    transactor.begin(1)
    transactor.abandon(1)
    world.raises["init_transactions"] = KafkaError(KafkaError._TIMED_OUT)
    for _ in range(2):
        with pytest.raises(KafkaException):
            transactor.begin(1)
    assert len(world.instances) == 3


def test_an_instance_whose_epoch_was_raised_by_its_own_successor_is_not_shut_out(world: World, transactor: Transactor) -> None:
    transactor.begin(1)
    transactor.abandon(1)
    world.raises["init_transactions"] = KafkaError(KafkaError._TIMED_OUT)  # it has raised the epoch, and its answer is missing
    with pytest.raises(KafkaException):
        transactor.begin(1)
    world.raises = {each: KafkaError(KafkaError._FENCED, "", True) for each in ("abort_transaction", "poll", "flush")}
    transactor.abandon(1)
    assert transactor.poll(0) == 0
    world.raises.clear()
    transaction(transactor)
    assert transactor.fenced is None


def test_what_is_abandoned_may_have_timed_out(world: World, transactor: Transactor) -> None:
    transactor.begin(1)
    world.raises["abort_transaction"] = KafkaError(KafkaError.INVALID_PRODUCER_EPOCH)
    transactor.abandon(1)
    world.raises.clear()
    transaction(transactor)
    assert (transactor.fenced, len(world.instances)) == (None, 2)


def test_what_an_old_instance_reports_reaches_its_callback_and_counts_for_no_later_transaction(
    world: World, transactor: Transactor
) -> None:
    told: list[str | None] = []
    transactor.begin(1)
    transactor.produce("S", b"", b"", -1, lambda error, _: told.append(None if error is None else error.name()))
    transactor.open(1)
    transactor.begin(1)
    for each in world.instances[0].reports:
        each(KafkaError(KafkaError._FENCED))
    transactor.complete(1)
    assert (told, transactor.fenced, world.instances[0].purged) == (["_FENCED"], None, True)


@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH])
def test_who_is_fenced_stays_fenced_and_never_takes_the_id_back(world: World, transactor: Transactor, code: int) -> None:
    world.raises["commit_transaction"] = KafkaError(code)
    for _ in range(2):
        with pytest.raises(KafkaException):
            transaction(transactor)
    assert transactor.fenced is not None
    assert len(world.instances) == 1


def test_a_commit_is_never_asked_for_with_a_report_missing_or_failed(world: World, transactor: Transactor) -> None:
    transactor.begin(1)
    transactor.produce("S", b"", b"", -1, lambda *_: None)
    world.instances[0].lost = 1
    with pytest.raises(KafkaException) as missing:
        transactor.complete(1)
    assert missing.value.args[0].txn_requires_abort()
    transactor.abandon(1)
    transactor.begin(1)
    transactor.produce("S", b"", b"", -1, lambda *_: None)
    world.raises["report"] = KafkaError(KafkaError._MSG_TIMED_OUT)
    with pytest.raises(KafkaException) as failed:
        transactor.complete(1)
    assert failed.value.args[0].code() == KafkaError._MSG_TIMED_OUT
