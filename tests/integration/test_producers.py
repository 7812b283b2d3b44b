"""Producers that know nothing of a cutover: stopped before the flip and started after it, by a hook or by a person; then the judge."""

import itertools
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from cutover import opening, requests
from cutover.client import Producer
from cutover.lifecycle import Seen, Stage
from cutover.rehearsal.service import NOBODY, Services
from cutover.rehearsal.traffic import Sent, Traffic, TrafficProcess
from cutover.world import World
from tests.cutting import Cutting
from tests.integration.test_moves import SDK, Live, live_run, python

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]
RATE = 300.0
FIRST_RECORDS = 50


@dataclass
class Writer:
    """One plain producer process, as a service runs it."""

    process: TrafficProcess
    sent: list[Sent]

    def ask_to_stop(self) -> None:
        """It is asked by `stop`."""

    def stop(self) -> None:
        self.sent.append(self.process.stop())

    def kill(self) -> None:
        self.process.kill()


@dataclass
class Plain(Live):
    """A run whose source is written by a plain producer; each of its lives is a writer of its own to the judge."""

    sent: list[Sent] = field(default_factory=list)
    services: Any = None
    _lives: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def producer(self) -> str:
        return self.cutting.plan.producers[0].name

    def begin(self, rate: float = RATE) -> None:
        self.services = Services(self.cutting.folder, cast("Any", lambda _, topic: [self._writer(topic, rate)]))
        self.services.open()
        self.ends.callback(self.services.kill)
        self.services.set(self.producer, self.cutting.source)
        self.become(self.cutting.source)

    def _writer(self, topic: str, rate: float) -> Writer:
        name = f"{self.cutting.source}-teller-{next(self._lives)}"
        told = Traffic(self.cutting.bootstrap, topic, name, rate, accounts=200, folder=str(self.cutting.folder))
        return Writer(TrafficProcess(told), self.sent)

    def people(self, world: World, seen: Seen | None) -> None:
        words = seen.waits_for if seen is not None else ""
        if f"{self.producer} stopped" in words:
            self.services.set(self.producer, NOBODY)
            requests.VERBS["confirm"](world, {"subject": self.producer, "word": "stopped"}, "tester")
        elif f"{self.producer} started" in words:
            self.services.set(self.producer, self.written(world))
            requests.VERBS["confirm"](world, {"subject": self.producer, "word": "started"}, "tester")
        super().people(world, seen)

    def written(self, world: World) -> str:
        """What the producer's owner starts it on."""
        return world.pair.primary.name

    def finish(self, opened: opening.Opened) -> Sent:
        self.services.close()
        deadline = time.monotonic() + 60
        while not self._has_read_all(opened):
            assert time.monotonic() < deadline, f"{self.group} does not reach the end of {self.topic}"
            opened.world.beat()
        for each in self.members:
            each.stop()
        return Sent(self.producer, sum(each.acknowledged for each in self.sent), sum(each.failed for each in self.sent))


def hook(folder: Path, name: str, source: str, target: str) -> dict[str, Any]:
    service = [sys.executable, "-m", "cutover.rehearsal.service", str(folder), name]
    verbs = {"stop_source": ["stop"], "start_target": ["start", target], "stop_target": ["stop"], "start_source": ["start", source]}
    return {"hook": {"check": [*service, "check"], **{verb: [*service, *words] for verb, words in verbs.items()}}}


@pytest.mark.parametrize("kind", ["hook", pytest.param("manual", marks=pytest.mark.slow)])
def test_a_plain_producer_is_stopped_and_started_there_and_back_and_nothing_is_lost(
    kind: str, bootstrap: str, tmp_path: Path, ends: ExitStack
) -> None:
    cutting = Cutting.of(bootstrap, tmp_path)
    name, group = f"importer-{cutting.source}", f"g-{cutting.source}"
    switch = hook(tmp_path, name, cutting.source, cutting.target) if kind == "hook" else kind
    cutting.wanted |= {
        "producers": [{"name": name, "owner": "team-test", "switch": switch}],
        "groups": [{"name": group, "owner": "team-test", "switch": "sdk", "missing": "earliest"}],
    }
    live = Plain(cutting, group, python(library="sdk"), ends)
    live.begin()
    with cutting.world() as opened:
        live.go(opened, Stage.SOAKING)
        assert live.services.running[name][0].process.traffic.topic == cutting.target
        live.go(opened, Stage.SYNCHRONIZED, back=True)
        assert live.services.running[name][0].process.traffic.topic == cutting.source
        sent = live.finish(opened)
    found = live.verdict()
    assert (found.lost, found.twice, found.disordered, found.unknown) == (0, 0, 0, 0)
    assert (found.acknowledged, sent.failed) == (sent.acknowledged, 0)
    assert len(live.sent) == 3


def test_a_joiner_that_pauses_before_its_first_record_writes_it_on_the_new_side(bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    live = live_run(bootstrap, tmp_path, ends, python(library="sdk"), "sdk")
    live.cutting.wanted["producers"] = [{**SDK, "instances": 2}]
    live.begin()
    settings = {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "client.id": f"{live.cutting.source}-teller-2"}
    landed: list[str] = []
    with live.cutting.world() as opened, Producer({**settings, "cutover.topic": live.cutting.source}) as joiner:
        live.go(opened, Stage.SWITCHING_WRITES)
        for number in range(1, FIRST_RECORDS + 1):
            value = f"{live.cutting.source}-teller-2 1 {number}"
            joiner.produce(live.cutting.source, value, "2 1", on_delivery=lambda _, message: landed.append(message.topic() or ""))
        assert joiner.flush(30) == 0
        assert landed == [live.cutting.target] * FIRST_RECORDS
        book = {"accounts": {"1": FIRST_RECORDS}, "failed": [], "longest_gap_ms": 0.0, "gaps": []}
        (tmp_path / f"{live.cutting.source}-teller-2.acknowledged").write_text(json.dumps(book))
        live.topic = live.cutting.target
        live.finish(opened)
    found = live.verdict()
    assert (found.lost, found.twice, found.disordered, found.unknown) == (0, 0, 0, 0)


def test_a_run_whose_stage_takes_too_long_rolls_back_by_itself_when_the_plan_says_so(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, producers=[SDK], budgets={"stage": "8s", "on_deadline": "roll_back"})
    cutting.write(100)
    with cutting.world() as opened:
        halt = cutting.drive(opened)  # nobody of the plan's producers ever joins
        assert (halt.exit_code, halt.why) == (6, "rolled back to planned")
        assert not opened.world.paired
    assert any("the deadline of switching_writes has passed" in each for each in cutting.said)
