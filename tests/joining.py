"""Applications around several pairs that are switched together: who writes them, who reads one or all of them, and the judge."""

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cutover import opening, requests
from cutover.drained import look
from cutover.lifecycle import Seen
from cutover.model import Isolation
from cutover.protocol import Role, Side
from cutover.rehearsal import judge
from cutover.rehearsal.consuming import Reading, ReadingProcess
from cutover.rehearsal.service import Services
from cutover.rehearsal.traffic import Sent, Traffic, TrafficProcess
from cutover.world import World
from tests.cutting import CuttingTogether

PATIENCE_SECONDS = 300.0
READ_SECONDS = 60.0


@dataclass
class Reader:
    """A group, and the pairs that it reads by their numbers."""

    name: str
    switch: str
    of: tuple[int, ...]
    members: list[ReadingProcess] = field(default_factory=list)
    side: Side = Side.SOURCE
    confirmed: set[str] = field(default_factory=set)


@dataclass
class Town:
    """Everybody around a set of pairs. Books and logs of each pair are in a folder of its own."""

    cutting: CuttingTogether
    ends: ExitStack
    readers: list[Reader]
    seconds: float = PATIENCE_SECONDS
    last: str = ""
    producers: list[TrafficProcess] = field(default_factory=list)
    services: Services = field(init=False)
    _began: float = 0.0

    def __post_init__(self) -> None:
        for number, _ in enumerate(self.cutting.pairs):
            self.folder(number).mkdir(exist_ok=True)
        self.cutting.wanted["groups"] = [self._told(each) for each in self.readers]
        self.services = Services(self.cutting.folder, self._start_service)

    def folder(self, number: int) -> Path:
        return self.cutting.folder / f"pair-{number}"

    def _told(self, reader: Reader) -> dict[str, Any]:
        exact = {"hand_off": "exact"} if reader.switch == "sdk" else {"hand_off": "at_least_once", "max_duplicates": 1_000_000}
        switch = {"hook": self._hook(reader.name)} if reader.switch == "hook" else reader.switch
        pairs = [self.topic(number, Side.SOURCE) for number in reader.of]
        return {"name": reader.name, "owner": "team-test", "switch": switch, "missing": "earliest", "pairs": pairs, **exact}

    def _hook(self, name: str) -> dict[str, Any]:
        service = [sys.executable, "-m", "cutover.rehearsal.service", str(self.cutting.folder), name]
        stops = {f"stop_{side}": [*service, "stop"] for side in ("source", "target")}
        starts = {f"start_{side}": [*service, "start", side.upper()] for side in ("source", "target")}
        return {**stops, **starts, "check": [*service, "check"]}

    def topic(self, number: int, side: Side) -> str:
        source, target, _ = self.cutting.pairs[number]
        return source if side is Side.SOURCE else target

    def begin(self, rate: float = 200, *, transactional: bool = False) -> None:
        """A producer for each pair, one that writes all of them, and a member of each group."""
        self.services.open()
        self.ends.callback(self.services.kill)
        every = list(range(len(self.cutting.pairs)))
        for number, of in enumerate([*([each] for each in every), every], 1):
            places = [(self.topic(each, Side.SOURCE), str(self.folder(each))) for each in of]
            (topic, folder), *others = places
            told = Traffic(
                self.cutting.bootstrap,
                topic,
                f"{self.cutting.source}-teller-{number}",
                rate,
                accounts=200,
                library="sdk",
                folder=folder,
                others=tuple(others),
                per_transaction=20 if transactional and others else 0,
            )
            self.producers.append(TrafficProcess(told))
            self.ends.callback(self.producers[-1].kill)
        for reader in self.readers:
            if reader.switch == "hook":
                self.services.set(reader.name, Side.SOURCE.value)
            else:
                self._become(reader, Side.SOURCE)

    def instances(self) -> list[dict[str, Any]]:
        """The producers, as the plan names them."""
        base = {"owner": "team-test", "switch": "sdk"}
        names = [source for source, _, _ in self.cutting.pairs]
        return [*({**base, "name": f"teller-of-{each}", "pairs": [each]} for each in names), {**base, "name": "teller-of-all"}]

    def _start_service(self, name: str, side: str) -> list[ReadingProcess]:
        reader = next(each for each in self.readers if each.name == name)
        reader.side = Side(side)
        return [self._member(reader)]

    def _become(self, reader: Reader, side: Side | None) -> None:
        for each in reader.members:
            each.stop()
        reader.members = []
        if side is not None:
            reader.side = side
            reader.members = [self._member(reader)]

    def _member(self, reader: Reader) -> ReadingProcess:
        (topic, folder), *others = [(self.topic(number, reader.side), str(self.folder(number))) for number in reader.of]
        library = "sdk" if reader.switch == "sdk" else "plain"
        member = f"m{time.monotonic_ns()}"
        made = ReadingProcess(Reading(self.cutting.bootstrap, topic, reader.name, member, folder, library=library, others=tuple(others)))
        self.ends.callback(made.kill)
        return made

    # The people.

    def wait(self, seconds: float) -> bool:
        self._began = self._began or time.monotonic()
        time.sleep(min(seconds, 0.05))
        return time.monotonic() - self._began > self.seconds

    def see(self, world: World, seen: Seen | None) -> None:
        self.last = f"{world.history.standing.stage}: {seen}"
        words = seen.waits_for if seen is not None else ""
        for each in self.readers:
            if each.switch == "manual" and words not in each.confirmed:
                self._act(world, each, words)

    def _act(self, world: World, reader: Reader, words: str) -> None:
        back = world.history.standing.goal.back
        for word, side in (("stopped", None), ("started", Side.SOURCE if back else Side.TARGET)):
            if f"{reader.name} {word}" in words:
                reader.confirmed.add(words)
                self._become(reader, side)
                requests.VERBS["confirm"](world, {"subject": reader.name, "word": word}, "tester")

    def joined(self, opened: opening.Opened) -> None:
        """Until every producer has joined for every topic that it writes."""
        deadline = time.monotonic() + 90
        wanted = len(self.cutting.pairs) + len(self.cutting.pairs)
        state = opened.world.log.state
        while sum(len(state.members(each.run_id, Role.PRODUCER)) for each in opened.world.pairs) < wanted:
            opened.world.log.refresh(0.1)
            state = opened.world.log.state
            assert time.monotonic() < deadline, [each.name for each in state.instances.values()]

    def finish(self, opened: opening.Opened) -> list[Sent]:
        """Stop the producers, and wait until everybody has read everything."""
        sent = [each.stop() for each in self.producers]
        assert not any(each.failed for each in sent)
        for reader in self.readers:
            for number in reader.of:
                side = opened.world.pairs[number].pair.group(reader.name).side
                self._wait_read(opened, reader.name, self.topic(number, side))
        return sent

    def _wait_read(self, opened: opening.Opened, group: str, topic: str) -> None:
        cluster, deadline = opened.world.cluster, time.monotonic() + READ_SECONDS
        ends = cluster.end_offsets(cluster.describe_topics([topic])[topic].topic_partitions(), Isolation.READ_COMMITTED)
        while look(cluster, opened.world.reader, group, ends).left:
            assert time.monotonic() < deadline, f"{group} does not reach the end of {topic}"
            opened.world.beat()
            time.sleep(0.05)

    def verdicts(self, opened: opening.Opened) -> dict[tuple[str, int], tuple[judge.Verdict, int]]:
        """What the judge says of each group in each pair that it reads, and how many records it was said to read again there."""
        found = {}
        for number, _ in enumerate(self.cutting.pairs):
            acknowledged, failed = judge.read_acknowledged(self.folder(number))
            given = judge.read_given(self.folder(number))
            for reader in self.readers:
                if number in reader.of:
                    verdict = judge.judge(reader.name, acknowledged, given.get(reader.name, []), failed)
                    found[(reader.name, number)] = (verdict, self._announced(opened, reader.name, number))
        return found

    def _announced(self, opened: opening.Opened, group: str, number: int) -> int:
        step = f"{opened.world.pairs[number].scope}moved:{group}"
        entries = opened.tenure._journal.entries(self.cutting.plan.cutover)
        return sum(int(each.body["duplicates"] or 0) for each in entries if each.step == step and each.kind == "outcome")
