"""The write switch against producers that do as they are told, and against those that do not."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from cutover import goals, opening, requests
from cutover.errors import AttemptsSpent, StragglerFound
from cutover.lifecycle import Stage
from cutover.protocol import Mode, Role
from cutover.rehearsal.traffic import Traffic, TrafficProcess
from tests.cutting import Cutting, Patience
from tests.judge import compare_topics, read_settled

pytestmark = pytest.mark.kafka
HISTORY = 500
SDK = {"name": "teller", "owner": "team-test", "switch": "sdk"}


class Plain:
    """A producer that knows nothing of a cutover and writes all the time."""

    def __init__(self, bootstrap: str, topic: str, rate: float) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 0})
        self._topic, self._rate, self.written = topic, rate, 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def _write(self) -> None:
        while not self._end.wait(1 / self._rate):
            self._producer.produce(self._topic, key=f"k{self.written % 97}", value=f"plain-{self.written}")
            self._producer.poll(0)
            self.written += 1
        self._producer.flush(30)

    def __enter__(self) -> "Plain":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


@contextmanager
def teller(cutting: Cutting, opened: opening.Opened, number: int = 1, rate: float = 300) -> Iterator[TrafficProcess]:
    """A producer process on the client library that has joined."""
    name = f"{cutting.source}-teller-{number}"
    process = TrafficProcess(Traffic(cutting.bootstrap, cutting.source, name, rate, library="sdk", folder=str(cutting.folder)))
    try:
        wait_joined(opened, name)
        yield process
    finally:
        process.kill()


def wait_joined(opened: opening.Opened, name: str) -> None:
    """Until the driver has read the JOIN of an instance."""
    deadline = time.monotonic() + 90
    while name not in {each.name for each in opened.world.log.state.members(opened.world.run_id, Role.PRODUCER)}:
        opened.world.log.refresh(0.1)
        assert time.monotonic() < deadline, f"{name} has not joined"


def undone(opened: opening.Opened) -> list[dict[str, Any]]:
    """The attempts that were undone, as journalled."""
    entries = opened.tenure._journal.entries(opened.world.plan.cutover)
    return [each.body["failed"] for each in entries if each.step == "flip" and each.kind == "outcome" and "failed" in each.body]


def test_a_plain_producer_that_writes_on_undoes_the_flip_is_named_and_nothing_is_lost(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, budgets={"flip_attempts": 2})
    cutting.write(HISTORY)
    with cutting.world() as opened:
        cutting.drive(opened, Stage.MOVING_GROUPS)
        with Plain(bootstrap, cutting.source, 300) as plain, pytest.raises(AttemptsSpent):
            cutting.drive(opened, Stage.SWITCHING_WRITES)
        assert opened.world.pair.mode is Mode.SOURCE
        told = undone(opened)
        assert len(told) == 2
        assert all(each["id"] == "CUT-FLP-001" for each in told)
        named = [each for each in told if "records" in each["fields"]]
        assert named, told
        assert {"partition", "offset", "timestamp_ms"} <= set(named[0]["fields"]["records"][0])
        written = HISTORY + plain.written
        assert cutting.drive(opened).why == "completed is done"
    assert compare_topics(bootstrap, cutting.source, cutting.target, written) == []


def test_an_idempotent_stranger_is_named_by_its_producer_id(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, budgets={"flip_attempts": 1})
    with cutting.world() as opened:
        cutting.drive(opened, Stage.SWITCHING_WRITES)
        stranger = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
        stranger.produce(cutting.source, key=b"k", value=b"late")
        assert stranger.flush(30) == 0
        with pytest.raises(StragglerFound) as found:
            cutting.drive(opened, Stage.SOAKING)
        record = found.value.fields["records"][0]
        assert record["producer_id"] >= 0
        assert f"producer id {record['producer_id']}" in found.value.what
        assert (record["topic"], found.value.fields["count"]) == (cutting.source, 1)


def test_stragglers_are_carried_over_where_the_plan_says_so(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, stragglers="forward", soak={"for": "1s"})
    cutting.write(HISTORY)
    with cutting.world() as opened:
        cutting.drive(opened, Stage.SWITCHING_WRITES)
        cutting.write(20, prefix="late-")
        assert cutting.drive(opened).why == "completed is done"
    values = [each.value for each in read_settled(bootstrap, cutting.target)]
    assert sorted(value for value in values if value and value.startswith(b"late-")) == sorted(f"late-{n}".encode() for n in range(20))


def test_a_flip_waits_for_every_instance_of_the_plan_and_holds_nobody(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, producers=[{**SDK, "instances": 2}], budgets={"flip_attempts": 1})
    with cutting.world() as opened:
        cutting.drive(opened, Stage.MOVING_GROUPS)
        with teller(cutting, opened):
            goals.go_forward(opened.world, Stage.SWITCHING_WRITES)
            with pytest.raises(AssertionError, match="2 producer instances to join, 1 have"):
                cutting.go_on(opened, patience=Patience(4))
            assert opened.world.pair.term == 0


def test_an_instance_that_is_stopped_undoes_the_flip_and_once_it_goes_on_the_flip_succeeds(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, producers=[SDK], budgets={"hold": "4s", "flip_attempts": 1})
    with cutting.world() as opened:
        cutting.drive(opened, Stage.MOVING_GROUPS)
        with teller(cutting, opened) as process:
            os.kill(process.pid, signal.SIGSTOP)
            try:
                with pytest.raises(AttemptsSpent):
                    cutting.drive(opened, Stage.SWITCHING_WRITES)
            finally:
                os.kill(process.pid, signal.SIGCONT)
            assert "did not answer" in undone(opened)[0]["what"]
            assert cutting.drive(opened, Stage.SOAKING).exit_code == 0
            sent = process.stop()
        assert sent.failed == 0
        assert cutting.drive(opened).why == "completed is done"
    assert compare_topics(bootstrap, cutting.source, cutting.target, sent.acknowledged) == []


def test_an_instance_that_was_killed_is_missing_until_a_person_says_that_it_is_gone(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, producers=[SDK], budgets={"hold": "4s", "flip_attempts": 1})
    with cutting.world() as opened:
        cutting.drive(opened, Stage.MOVING_GROUPS)
        with teller(cutting, opened) as process:
            process.kill()
        with pytest.raises(AttemptsSpent):
            cutting.drive(opened, Stage.SWITCHING_WRITES)
        dead = f"{cutting.source}-teller-1"
        requests.VERBS["forget"](opened.world, {"instance": dead, "reason": "its host is gone"}, "tester")
        with teller(cutting, opened, number=2):
            assert cutting.drive(opened, Stage.SOAKING).exit_code == 0


def test_a_transaction_that_stays_open_undoes_the_flip(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, budgets={"hold": "4s", "flip_attempts": 1})
    with cutting.world() as opened:
        cutting.drive(opened, Stage.MOVING_GROUPS)
        hanging = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"tx-{cutting.source}", "partitioner": "murmur2"})
        hanging.init_transactions(30)
        hanging.begin_transaction()
        hanging.produce(cutting.source, key=b"k", value=b"open")
        hanging.flush(30)
        with pytest.raises(AttemptsSpent):
            cutting.drive(opened, Stage.SWITCHING_WRITES)
        assert "stays open" in undone(opened)[0]["what"]
        hanging.commit_transaction(30)
        assert cutting.drive(opened).why == "completed is done"
    assert compare_topics(bootstrap, cutting.source, cutting.target, 1) == []
