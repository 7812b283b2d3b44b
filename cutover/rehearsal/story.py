"""The demo: a live topic goes from 6 to 24 partitions under traffic, then a second one there and back, and a judge looks at both.

What is shown is what the command line does; this only plays the people around it, and asks an independent judge at the end.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cutover.connection import Connection
from cutover.errors import AuditViolation, RehearsalStuck
from cutover.kafka.embedded import EmbeddedKafka
from cutover.lifecycle import Stage
from cutover.ports import Cluster
from cutover.protocol import CONTROL_TOPIC
from cutover.rehearsal.scene import Cast, Names, Scene
from cutover.stages.provisioned import CONTROL

SOURCE_PARTITIONS = 6
FORWARD = (Names("orders", "orders.v2"), Names("customers", "customers.v2"))
BACK = (Names("payments", "payments.v2"), Names("accounts", "accounts.v2"))
BRISK = {"group.initial.rebalance.delay.ms": "0"}


@dataclass(frozen=True, slots=True)
class Told:
    """One line of the story, and when."""

    at_seconds: float
    words: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {"schema_version": 1, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Act:
    """One run: how far it goes, and whether it comes back."""

    cast: Cast
    until: Stage
    back: bool


def acts(rollback_from: Stage | None, pairs: int = 1) -> tuple[Act, ...]:
    """The two acts of the demo, or the one that goes to a stage and back; each over so many pairs that are switched together."""
    back = Cast(BACK[:pairs])
    if rollback_from is not None:
        return (Act(back, rollback_from, back=True),)
    return (Act(Cast(FORWARD[:pairs]), Stage.COMPLETED, back=False), Act(back, Stage.SOAKING, back=True))


@dataclass(slots=True)
class Story:
    """One telling. `tell` hears every line at once."""

    tell: Callable[[Told], None]
    strategy: str = "mirror"
    pairs: int = 1
    """How many pairs each run switches together."""
    _began: float = field(default_factory=time.monotonic)

    def play(self, connect: Callable[[Connection], AbstractContextManager[Cluster]], rollback_from: Stage | None = None) -> None:
        """Play it whole; raises what went wrong, and AuditViolation when the judge finds anything."""
        with EmbeddedKafka(config=BRISK) as kafka, tempfile.TemporaryDirectory(prefix="cutover-demo-") as folder:
            connection = Connection.of({"bootstrap.servers": kafka.bootstrap_servers})
            self._say(f"Apache Kafka is up at {kafka.bootstrap_servers}")
            with connect(connection) as cluster:
                cluster.create_topic(CONTROL_TOPIC, 1, replication_factor=1, configs=CONTROL)
                for act in acts(rollback_from, self.pairs):
                    place = Path(folder) / act.cast.first.source
                    self._play(act, Scene(act.cast, kafka.bootstrap_servers, place, cluster, self._say, self.strategy))

    def _play(self, act: Act, scene: Scene) -> None:
        for each in act.cast.pairs:
            scene.cluster.create_topic(each.source, SOURCE_PARTITIONS, replication_factor=1)
        try:
            scene.begin()
            self._drive(scene, 0, "run", "--until", act.until.value, "--no-wait")
            if act.back:
                self._drive(scene, 6, "rollback", "--to", "planned", "--reason", "the demo shows the way back", "--yes")
            scene.finish()
            held = scene.held()
            self._say("; ".join(f"{topic} holds {count:,} offsets" for topic, count in held.items()), offsets=held)
            self._judge(scene)
        finally:
            scene.kill()

    def _drive(self, scene: Scene, wanted: int, *words: str) -> None:
        code = scene.drive(*words)
        if code != wanted:
            raise RehearsalStuck(f"cutover {words[0]} ended with exit code {code}, not {wanted}", step=words[0])

    def _judge(self, scene: Scene) -> None:
        verdicts, gaps = scene.judge()
        announced = scene.announced()
        red = []
        for each in verdicts:
            said = announced[(each["group"], each["source"])]
            of = f"{each['group']} of {each['source']}" if len(scene.cast.pairs) > 1 else each["group"]
            self._say(
                f"judge: {of}: lost {each['lost']}, read again {each['twice']:,} (announced {said:,}),"
                f" out of order {each['disordered']}, of {each['acknowledged']:,} acknowledged",
                verdict=each,
                announced=said,
            )
            if not each["clean"] or each["twice"] != said:
                red.append(of)
        self._say(f"judge: the longest time a producer waited was {max(gaps.values()):.0f} ms", longest_gap_ms=gaps)
        if red or len(verdicts) != len(announced):
            raise AuditViolation(f"the judge is not content with {', '.join(red) or 'the number of groups'}", why="See its verdicts above.")

    def _say(self, words: str, **facts: Any) -> None:  # noqa: ANN401
        self.tell(Told(round(time.monotonic() - self._began, 2), words, facts))
