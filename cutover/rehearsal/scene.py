"""One run of the demo: live producers, four groups of real processes, and the command line that moves them, as a process of its own.

The groups: on the client library; plain and moved by a stop/start hook; plain and redeployed by its owner while primed; plain and a
hundred thousand records behind; with several pairs, one that reads all. The judge is another process and knows nothing of the cutover.
"""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

from cutover.errors import CutoverError, RehearsalStuck
from cutover.journal import Journal
from cutover.model import Committed, Isolation, TopicPartition
from cutover.ports import Cluster
from cutover.rehearsal.consuming import Reading, ReadingProcess
from cutover.rehearsal.service import Services
from cutover.rehearsal.traffic import Traffic, TrafficProcess

PRODUCERS = 3
RECORDS_PER_SECOND = 5000
HISTORY_RECORDS = 120_000
BEHIND_RECORDS = 100_000
STEP_SECONDS = 90.0
LOOK_SECONDS = 0.1
SLOW_RATE = 50.0
PER_TRANSACTION = 100
OVERWHELMED_RECORDS = 80_000
"""What a group that is not meant to lag is behind when the machine cannot keep up with the producers."""
EASE_SECONDS = 2.0
LEAST_SHARE = 0.1
HISTORY_TIMES = 10
"""How many times faster than they go on producers can write the history, on a machine that is fast enough for everybody."""
REDEPLOY = "redeploy"
"""In what a run waits for, this asks the owner of a primed group to act."""

DRAIN = "up to the cut"
"""The same of a group that has yet to read the source to its end."""

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Names:
    """What the topics of one pair are called."""

    source: str
    target: str

    def other(self, topic: str) -> str:
        """The topic that this one is paired with."""
        return self.target if topic == self.source else self.source


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part, and what everybody is called: with several pairs the groups are spread over them, and one more reads all."""

    pairs: tuple[Names, ...]

    @property
    def first(self) -> Names:
        """The pair after which everybody is named."""
        return self.pairs[0]

    @property
    def run(self) -> str:
        """The run."""
        return f"{self.first.source}-to-24"

    @property
    def library(self) -> str:
        """The group on the client library."""
        return f"{self.first.source}-balances"

    @property
    def hooked(self) -> str:
        """The group moved by a hook."""
        return f"{self.first.source}-mails"

    @property
    def primed(self) -> str:
        """The group that its owner redeploys."""
        return f"{self.first.source}-search"

    @property
    def behind(self) -> str:
        """The group that lags."""
        return f"{self.first.source}-archive"

    @property
    def joining(self) -> str:
        """The group that reads all pairs, where there are several."""
        return f"{self.first.source}-join"

    @property
    def groups(self) -> Mapping[str, tuple[Names, ...]]:
        """Every group, and the pairs that it reads."""
        last = self.pairs[-1]
        alone = {self.library: (self.first,), self.hooked: (self.first,), self.primed: (last,), self.behind: (last,)}
        return alone if len(self.pairs) == 1 else {**alone, self.joining: self.pairs}


def plan_of(cast: Cast, bootstrap: str, folder: Path, strategy: str = "mirror") -> dict[str, Any]:
    """The plan of the pairs, as an operator would write it; times are those of a demo."""

    def hook(name: str) -> dict[str, Any]:
        service, home = [sys.executable, "-m", "cutover.rehearsal.service", str(folder), name], cast.groups[name][0]
        return {
            "hook": {
                "stop_source": [*service, "stop"],
                "start_target": [*service, "start", home.target],
                "stop_target": [*service, "stop"],
                "start_source": [*service, "start", home.source],
                "check": [*service, "check"],
            }
        }

    again = {"hand_off": "at_least_once", "max_duplicates": 1000}
    by_owner = hook(cast.primed) if strategy == "dual_write" else "primed"
    groups: list[dict[str, Any]] = [
        {"name": cast.library, "owner": "team-ledger", "switch": "sdk", "instances": 2},
        {**again, "name": cast.hooked, "owner": "team-mail", "switch": hook(cast.hooked)},
        {**again, "name": cast.behind, "owner": "team-archive", "switch": hook(cast.behind), "missing": "earliest"},
        {**again, "name": cast.primed, "owner": "team-search", "switch": by_owner, "max_duplicates": 100_000},
    ]
    told = [{"source": {"topic": each.source}, "target": {"topic": each.target, "partitions": 24}} for each in cast.pairs]
    if len(told) > 1:
        groups.append({**again, "name": cast.joining, "owner": "team-risk", "switch": hook(cast.joining)})
        groups = [{**each, "pairs": [pair.source for pair in cast.groups[each["name"]]]} for each in groups]
    return {
        "cutover": cast.run,
        "cluster": {"bootstrap": bootstrap},
        **({"pairs": told} if len(told) > 1 else told[0]),
        "partitioner": "murmur2",
        "strategy": strategy,
        "producers": [{"name": "tellers", "owner": "team-payments", "switch": "sdk", "instances": PRODUCERS}],
        "groups": groups,
        "budgets": {"quarantine": "1s", "mirror_lag_for": "1s", "stage": "6m"},
        "soak": {"for": "2s", "max_group_lag": 200_000},
        "acknowledged": ["CUT-PRE-015", *(["CUT-PRE-047"] if strategy == "dual_write" else [])],
    }


@dataclass(slots=True)
class Scene:
    """Everything of one run, over one pair or several. `tell` hears what happens."""

    cast: Cast
    bootstrap: str
    folder: Path
    cluster: Cluster
    tell: Callable[[str], None]
    strategy: str = "mirror"
    slow: bool = True
    """Whether the group that lags is slow when it is started next; it is so once."""
    _services: Services = field(init=False)
    _producers: list[TrafficProcess] = field(default_factory=list)
    _readers: dict[str, list[ReadingProcess]] = field(default_factory=dict)
    _commands: list[subprocess.Popen[str]] = field(default_factory=list)
    _share: float = 1.0
    """Of the rate, what the producers write now."""
    _looked_at: float = 0.0
    _behind: int = 0
    """The most that a group that is not meant to lag was behind at the last look, in records."""
    _grew: bool = False
    _redeployed: bool = False
    """Whether the owner has done it already, for the command that runs."""

    @property
    def primes(self) -> bool:
        """Whether the group that its owner redeploys is primed; while both topics are written nobody is, and a hook moves it."""
        return self.strategy != "dual_write"

    def begin(self) -> None:
        """Start producers and groups, and wait until there is a history and somebody is far behind."""
        for each in self.cast.pairs:
            self.books(each).mkdir(parents=True, exist_ok=True)
        self._services = Services(self.folder, self._start_service)
        self._services.open()
        self._producers += [TrafficProcess(self._traffic(number)) for number in range(1, PRODUCERS + 1)]
        groups, sources = self.cast.groups, [each.source for each in self.cast.pairs]
        self._readers[self.cast.library] = [self._reader(self.cast.library, each, self.cast.first.source, "sdk") for each in "ab"]
        if self.primes:
            self._readers[self.cast.primed] = [self._reader(self.cast.primed, "a1", groups[self.cast.primed][0].source)]
        for name in groups:
            if name not in self._readers:
                self._services.set(name, groups[name][0].source)
        names = " and ".join(sources)
        self.tell(f"{PRODUCERS} producers write {RECORDS_PER_SECOND:,} records/s to {names}; {len(groups)} groups read")
        self._wait(lambda: sum(map(self._written, sources)) > 0, f"a record on {names}")
        began = time.monotonic()
        self._wait(lambda: sum(map(self._written, sources)) >= HISTORY_RECORDS, f"{HISTORY_RECORDS:,} records on {names}")
        self._start_easy(HISTORY_RECORDS / (time.monotonic() - began))
        for name, pairs in groups.items():
            for each in pairs:
                self._wait(lambda name=name, each=each: self._read(name, each.source) > 0, f"a position of {name}")  # type: ignore[misc]
        source = groups[self.cast.behind][0].source
        self.tell(f"{self.cast.behind} is {self._written(source) - self._read(self.cast.behind, source):,} records behind")

    def books(self, pair: Names) -> Path:
        """Where it is written down what was acknowledged on a pair, and what each group was given of it."""
        return self.folder / pair.source

    def _traffic(self, number: int) -> Traffic:
        """A producer of all pairs; with several the last one writes them in transactions."""
        (topic, folder), *others = ((each.source, str(self.books(each))) for each in self.cast.pairs)
        return Traffic(
            self.bootstrap,
            topic,
            f"{topic}-teller-{number}",
            RECORDS_PER_SECOND / PRODUCERS,
            library="sdk",
            folder=folder,
            history=HISTORY_RECORDS // PRODUCERS,
            others=tuple(others),
            per_transaction=PER_TRANSACTION if others and number == PRODUCERS else 0,
            pace=str(self._pace),
        )

    def _start_service(self, name: str, topic: str) -> list[ReadingProcess]:
        member = f"{'s' if topic == self.cast.groups[name][0].source else 't'}{time.monotonic_ns()}"
        slow, self.slow = name == self.cast.behind and self.slow, self.slow and name != self.cast.behind
        return [self._reader(name, member, topic, rate=SLOW_RATE if slow else 0.0)]

    def _reader(self, group: str, member: str, topic: str, library: str = "plain", rate: float = 0.0) -> ReadingProcess:
        first, *others = self.cast.groups[group]
        places = tuple((each.source if topic == first.source else each.target, str(self.books(each))) for each in others)
        told = Reading(self.bootstrap, topic, group, member, str(self.books(first)), library=library, rate=rate, others=places)
        return ReadingProcess(told)

    def drive(self, *words: str) -> int:
        """Run the command line until it ends, playing the owner of the primed group meanwhile; its exit code."""
        plan = self.folder / "plan.yaml"
        plan.write_text(yaml.safe_dump(plan_of(self.cast, self.bootstrap, self.folder, self.strategy), sort_keys=False))
        verb, *rest = words
        command = [sys.executable, "-m", "cutover", verb, str(plan), *rest, "--output", "ndjson", "--journal", self.journal]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._commands.append(child)
        complaints: list[str] = []
        drain = threading.Thread(target=lambda: complaints.extend(child.stderr or ()), daemon=True)
        drain.start()
        self._redeployed = False
        for event in _events(child):
            self._hear(event)
        drain.join()
        code = child.wait()
        if code not in {0, 6}:
            self.tell("".join(complaints).strip())
        return code

    @property
    def journal(self) -> str:
        """Where the runs are journalled."""
        return f"sqlite:///{self.folder / 'journal.db'}"

    @property
    def _pace(self) -> Path:
        return self.folder / "pace"

    def _start_easy(self, records_per_second: float) -> None:
        """Write no more than a part of what this machine could write at best: mirror, audit and groups need the rest."""
        share = records_per_second / (HISTORY_TIMES * RECORDS_PER_SECOND)
        if share < 1:
            self._write_less(max(LEAST_SHARE, share), "is slow")

    def _write_less(self, share: float, why: str) -> None:
        self._share = share
        written = self._pace.with_suffix(".new")
        written.write_text(str(share))
        written.replace(self._pace)
        self.tell(f"this machine {why}: the producers write {RECORDS_PER_SECOND * share:,.0f} records/s from here on")

    def _ease(self) -> None:
        """Have producers write half as fast once groups fall behind for longer than a move takes: a slow machine shows the same."""
        now = time.monotonic()
        if now - self._looked_at < EASE_SECONDS:
            return
        self._looked_at = now
        try:
            lag = max(map(self._lag, (self.cast.library, self.cast.hooked, self.cast.primed)))
        except CutoverError:  # a topic that has just been removed, a coordinator that moves: the next look tells
            return
        grows, self._behind = lag > max(OVERWHELMED_RECORDS, self._behind), lag
        if grows and self._grew and self._share > LEAST_SHARE:
            self._write_less(self._share / 2, "does not keep up")
            grows = False
        self._grew = grows

    def _lag(self, group: str) -> int:
        """How many records it is behind, in all pairs, on the topic of each that it reads."""
        left = [[self._left(group, topic) for topic in (each.source, each.target)] for each in self.cast.groups[group]]
        return sum(min((count for count in each if count >= 0), default=0) for each in left)

    def _hear(self, event: Event) -> None:
        self._ease()
        if event.get("event") == "said":
            self.tell(str(event["words"]))
        waits = str(event.get("waits_for", ""))
        if REDEPLOY in waits and self.cast.primed in waits and not self._redeployed:
            self._redeployed = True
            self._redeploy()
        if DRAIN in waits and self.cast.behind in waits:
            self._hurry()

    def _hurry(self) -> None:
        """What the owner of the group that lags does when it alone is waited for: run it as fast as it can."""
        slow = [each for each in self._services.running.get(self.cast.behind, []) if each.reading.rate]
        if slow:
            self._services.set(self.cast.behind, slow[0].reading.topic)
            self.tell(f"{self.cast.behind}: its owner lets it read as fast as it can")

    def _redeploy(self) -> None:
        """What the owner of the primed group does: stop everything, start everything, on the other topic."""
        old = self._readers[self.cast.primed]
        topic = self.cast.groups[self.cast.primed][0].other(old[0].reading.topic)
        for each in old:
            each.stop()
        self._readers[self.cast.primed] = [self._reader(self.cast.primed, f"r{time.monotonic_ns()}", topic)]
        self.tell(f"{self.cast.primed}: its owner has redeployed it on {topic}")

    def finish(self) -> None:
        """Stop the producers, let every group read everything, stop the groups."""
        sent = [each.stop() for each in self._producers]
        self.tell(
            f"the producers stopped: {sum(each.acknowledged for each in sent):,} acknowledged, {sum(each.failed for each in sent)} failed"
        )
        for each in self._services.running.get(self.cast.behind, []):
            if each.reading.rate:  # it was never moved, and reads on as fast as it can
                self._services.set(self.cast.behind, each.reading.topic)
        for name in self.cast.groups:
            self._wait(lambda name=name: self._has_read_all(name), f"{name} to read everything")  # type: ignore[misc]
        for members in self._readers.values():
            for each in members:
                each.stop()
        self._services.close()

    def _has_read_all(self, group: str) -> bool:
        """It stands at the end of one of the topics of each pair, but for the markers that no reader commits."""
        return all(any(self._left(group, topic) == 0 for topic in (each.source, each.target)) for each in self.cast.groups[group])

    def _left(self, group: str, topic: str) -> int:
        where = self._partitions(topic)
        if not where:
            return -1
        ends = self.cluster.end_offsets(where, Isolation.READ_COMMITTED)
        told = self.cluster.committed([group], where)[group]
        if not all(isinstance(each, Committed) for each in told.values()):
            return -1
        # A topic that ends in a transaction's marker keeps one offset that no reader ever commits.
        return sum(max(0, ends[each] - position.offset - 1) for each, position in told.items() if isinstance(position, Committed))

    def judge(self) -> tuple[list[Event], dict[str, float]]:
        """Have it judged by a process of its own: a verdict per group and pair, and the longest gaps of the producers."""
        verdicts: list[Event] = []
        gaps: dict[str, float] = {}
        for each in self.cast.pairs:
            command = [sys.executable, "-m", "cutover.rehearsal.judge", str(self.books(each))]
            said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
            *found, told = [json.loads(line) for line in said.splitlines()]
            verdicts += [{**verdict, "source": each.source} for verdict in found]
            gaps = {name: max(gap, gaps.get(name, 0.0)) for name, gap in told["longest_gap_ms"].items()}
        return verdicts, gaps

    def announced(self) -> dict[tuple[str, str], int]:
        """What the run said that each group reads again of each pair, over all its moves; by group and source."""
        with Journal.open(self.journal) as journal:
            entries = [each for each in journal.entries(self.cast.run) if each.kind == "outcome"]
        said: dict[tuple[str, str], int] = {}
        for group, pairs in self.cast.groups.items():
            for each in pairs:
                step = f"{'' if each is self.cast.first else each.source + '/'}moved:{group}"
                said[(group, each.source)] = sum(int(entry.body["duplicates"] or 0) for entry in entries if entry.step == step)
        return said

    def held(self) -> dict[str, int]:
        """How many offsets each topic that is there holds."""
        topics = [topic for each in self.cast.pairs for topic in (each.source, each.target)]
        return {topic: self._written(topic) for topic in topics if self._partitions(topic)}

    def kill(self) -> None:
        """Leave nothing behind."""
        for child in self._commands:
            if child.poll() is None:
                child.kill()
                child.wait()
        for producer in self._producers:
            producer.kill()
        for members in self._readers.values():
            for each in members:
                each.kill()
        if hasattr(self, "_services"):
            self._services.kill()

    def _partitions(self, topic: str) -> list[TopicPartition]:
        if topic not in self.cluster.topic_names():
            return []
        return list(self.cluster.describe_topics([topic])[topic].topic_partitions())

    def _written(self, topic: str) -> int:
        return sum(self.cluster.end_offsets(self._partitions(topic), Isolation.READ_COMMITTED).values())

    def _read(self, group: str, topic: str) -> int:
        told = self.cluster.committed([group], self._partitions(topic))[group]
        return sum(each.offset for each in told.values() if isinstance(each, Committed))

    def _wait(self, seen: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + STEP_SECONDS
        while not seen():
            if time.monotonic() > deadline:
                raise RehearsalStuck(f"waited {STEP_SECONDS:g} s in vain for: {what}", step=what)
            time.sleep(LOOK_SECONDS)


def _events(child: subprocess.Popen[str]) -> Iterator[Event]:
    """The events of a command as they come; a line that is none is skipped."""
    lines: queue.Queue[str | None] = queue.Queue()
    pipe: IO[str] | None = child.stdout
    if pipe is None:
        raise RuntimeError("a process started with a pipe has none")

    def read() -> None:
        for line in pipe:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (line := lines.get()) is not None:
        if line.startswith("{"):
            yield json.loads(line)
