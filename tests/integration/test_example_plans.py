"""Each example plan is loaded and run to its end; only times, the cluster and what stands for other teams' hosts are those of a test."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from cutover import opening, requests, wiring
from cutover.lifecycle import Seen, Stage
from cutover.plan import load, written
from cutover.protocol import Mode
from cutover.rehearsal.consuming import Reading, ReadingProcess
from cutover.rehearsal.traffic import Traffic, TrafficProcess
from cutover.world import World
from tests.cutting import ACCEPTED, BRISK, Cutting, Patience

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]
PLANS = sorted((Path(__file__).parents[2] / "plans").glob("*.yaml"))
PARTITIONERS = {"murmur2": "murmur2_random", "crc32": "consistent_random"}
SOURCE_PARTITIONS = {"balances-dual-write": 8, "join": 6, "orders": 6, "payments-writes-first": 6, "smallest": 3}
EVERY_VARIABLE = {"CUTOVER_PROFILE": "test", "CUTOVER_BOOTSTRAP": "127.0.0.1:9092"}


class Example(Cutting):
    """An example plan on topics of its own."""

    def document(self) -> dict[str, Any]:
        told = dict(self.wanted)
        told["cutover"] = f"{told['cutover']}-{self.source[-6:]}"
        told["cluster"] = {"bootstrap": self.bootstrap}
        if "pairs" in told:
            targets = (each["target"] for each in told["pairs"])
            pairs = [(source, {**target, "topic": f"{source}.v2"}) for source, target in zip(self.sources, targets, strict=True)]
            told["pairs"] = [{"source": {"topic": source}, "target": target} for source, target in pairs]
        else:
            told["source"], told["target"] = {"topic": self.source}, {**told["target"], "topic": self.target}
        told["budgets"] = {**told.get("budgets", {}), **BRISK}
        told["soak"] = {"for": "0s", "max_group_lag": 1_000_000}
        told["acknowledged"] = [*told.get("acknowledged", ()), *ACCEPTED]
        told.pop("window", None)
        told.pop("approvals", None)
        for name in ("producers", "groups"):
            told[name] = [self._ours(each) for each in told.get(name, ())]
        return told

    @property
    def named(self) -> list[str]:
        """The sources of the example, as it names them."""
        return [each["source"]["topic"] for each in self.wanted.get("pairs", ())] or [self.wanted["source"]["topic"]]

    @property
    def sources(self) -> list[str]:
        """The same of this test."""
        return [self.source, *(f"{self.source}-{number}" for number in range(1, len(self.named)))]

    def make_others(self, partitions: int) -> None:
        """Create the sources but the first, which is there."""
        with wiring.cluster(self.connection) as cluster:
            for each in self.sources[1:]:
                cluster.create_topic(each, partitions, replication_factor=1)

    @property
    def others_folder(self) -> Path:
        """Where members of several topics write down what they were given of the others."""
        found = self.folder / "others"
        found.mkdir(exist_ok=True)
        return found

    def touched_by(self, name: str) -> list[str]:
        """The sources that somebody of the plan reads or writes."""
        of_pairs = self.plan.of_each_pair()
        return [each.source.topic for each in of_pairs if name in {found.name for found in (*each.producers, *each.groups)}]

    def _ours(self, told: dict[str, Any]) -> dict[str, Any]:
        """A hook of a test does nothing: nobody is there to be stopped; the people of the test start the group instead."""
        made = {**told, "name": f"{told['name']}-{self.source[-6:]}"}
        if told.get("pairs"):
            made["pairs"] = [self.sources[self.named.index(each)] for each in told["pairs"]]
        by_hook = isinstance(told["switch"], dict)
        if by_hook:
            verbs = ("stop_source", "start_target", "stop_target", "start_source", "check")
            made["switch"] = {"hook": {verb: ["true"] for verb in verbs}}
        if "max_duplicates" in told or (not by_hook and made["switch"] in {"primed", "manual"}):
            made["max_duplicates"] = 1_000_000
        return made


class People:
    """Members of every group of the plan, and whoever acts for them."""

    def __init__(self, cutting: Example, ends: ExitStack) -> None:
        self._cutting, self._ends = cutting, ends
        self._members: dict[str, list[ReadingProcess]] = {}
        self._kinds = {each.name: each.switch_kind for each in cutting.plan.groups}
        self._acted: set[str] = set()

    def begin(self) -> None:
        for producer in self._cutting.plan.producers:
            if producer.switch_kind == "sdk":
                for number in range(producer.instances):
                    name = f"{self._cutting.source}-{producer.name}-{number + 1}"
                    topic, *others = self._cutting.touched_by(producer.name)
                    told = Traffic(
                        self._cutting.bootstrap,
                        topic,
                        name,
                        100,
                        library="sdk",
                        folder=str(self._cutting.folder),
                        partitioner=PARTITIONERS[self._cutting.plan.partitioner],
                        others=tuple((each, "") for each in others),
                    )
                    self._ends.callback(TrafficProcess(told).kill)
        for group in self._cutting.plan.groups:
            for number in range(group.instances or 1):
                self._start(group.name, "", f"s{number}")

    def _start(self, group: str, suffix: str, member: str) -> None:
        library = "sdk" if self._kinds[group] == "sdk" else "plain"
        topic, *others = (f"{each}{suffix}" for each in self._cutting.touched_by(group))
        folder = str(self._cutting.folder)
        places = tuple((each, str(self._cutting.others_folder)) for each in others)
        told = Reading(self._cutting.bootstrap, topic, group, member, folder, library=library, others=places)
        self._members.setdefault(group, []).append(ReadingProcess(told))
        self._ends.callback(self._members[group][-1].kill)

    def see(self, world: World, seen: Seen | None) -> None:
        words = seen.waits_for if seen is not None else ""
        for name, kind in self._kinds.items():
            if name in words and words not in self._acted:
                self._act(world, name, kind, words)

    def _act(self, world: World, name: str, kind: str, words: str) -> None:
        if f"{name} stopped" in words or (kind == "hook" and "to be empty" in words):
            self._acted.add(words)
            self._stop(name)
            self._confirm(world, name, kind, "stopped")
        elif f"{name} started" in words or "members of" in words:
            self._acted.add(words)
            self._start(name, ".v2", "t0")
            self._confirm(world, name, kind, "started")
        elif "to redeploy" in words:
            self._acted.add(words)
            if not any(each.reading.topic.endswith(".v2") for each in self._members[name]):
                self._stop(name)
                self._start(name, ".v2", "t0")

    def _stop(self, name: str) -> None:
        for each in self._members[name]:
            each.stop()

    def _confirm(self, world: World, name: str, kind: str, word: str) -> None:
        if kind == "manual":
            requests.VERBS["confirm"](world, {"subject": name, "word": word}, "tester")


class Acting(Patience):
    """A test's patience, in which people act; producers that a person switches are said to be."""

    people: People

    def see(self, world: World, seen: Seen | None) -> None:
        super().see(world, seen)
        self.people.see(world, seen)
        for producer in world.whole.producers:
            if producer.switch_kind == "manual" and producer.name in self.last:
                word = "stopped" if f"{producer.name} stopped" in self.last else "started"
                requests.VERBS["confirm"](world, {"subject": producer.name, "word": word}, "tester")


def test_there_are_five_examples() -> None:
    assert len(PLANS) == 5


SLOW = {"payments-writes-first", "orders", "join"}


@pytest.mark.parametrize(
    "path", [pytest.param(each, marks=[pytest.mark.slow] if each.stem in SLOW else [], id=each.stem) for each in PLANS]
)
def test_an_example_plan_is_run_to_its_end(path: Path, bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    plan = load(path, {**os.environ, **EVERY_VARIABLE})
    told = yaml.safe_load(yaml.safe_dump(written(plan)))
    cutting = Example.of(bootstrap, tmp_path, source_partitions=SOURCE_PARTITIONS[path.stem], partitions=plan.target.partitions, **told)
    cutting.make_others(SOURCE_PARTITIONS[path.stem])
    for source in cutting.sources:
        cutting.write(200, partitioner=PARTITIONERS[plan.partitioner], prefix="writer-0 0 ", topic=source)
    people = People(cutting, ends)
    people.begin()
    with cutting.world() as opened:
        acting = Acting(200.0)
        acting.people = people
        cutting.drive(opened, Stage.SOAKING, patience=acting)
        for each in opened.world.pairs:
            assert each.pair.mode is Mode.TARGET
            assert all(found.side == "TARGET" for found in each.pair.groups.values())
            assert {found.name for found in each.plan.groups} == set(each.pair.groups)
        finished = Acting(60.0)
        finished.people = people
        assert cutting.drive(opened, patience=finished).why == "completed is done"
    assert isinstance(opened, opening.Opened)
