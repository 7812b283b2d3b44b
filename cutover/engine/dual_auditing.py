"""An audit of dual writing from this host: what the engine is told, what its verdicts come to. Nothing here reads a record."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cutover import partitioners
from cutover.connection import Connection
from cutover.engine.audit_events import VerifiedCut
from cutover.engine.auditing import ASK_SECONDS, topic_of
from cutover.engine.configuration import Told, Topic
from cutover.engine.dual_events import DUAL_AUDIT, DualProgress, DualVerdict
from cutover.engine.events import Stopped
from cutover.engine.process import EngineProcess
from cutover.errors import SameTopic
from cutover.ports import Cluster

JUDGE_SECONDS = 10.0
ANSWER_SECONDS = 10.0
DualHappening = DualProgress | DualVerdict | VerifiedCut


class DualAuditConfiguration(Told):
    """A judge of two topics to which producers write every record. Version and socket are added when the process is started."""

    worker: str = ""
    grace_seconds: float = 30
    connection: Mapping[str, Any]
    source: Topic
    target: Topic
    source_from: Mapping[int, int] | None = None
    """None: the first offsets."""
    target_from: Mapping[int, int] | None = None
    source_until: Mapping[int, int] | None = None
    """None: the ends of now."""
    target_until: Mapping[int, int] | None = None
    source_partitioner: str
    target_partitioner: str | None = None
    """None: the same."""
    stamps: Literal["required", "optional"] = "optional"
    align: bool = False
    """The ranges begin and end where nobody was held."""
    patience_ms: int = 10_000
    """How far apart the two records of one write may be."""
    follow: bool = False
    interval_ms: int = 1000
    samples: int = 10
    show_data: bool = False
    off_hash: Literal["violation", "accepted"] = "violation"
    spill_dir: str | None = None
    pending_limit: int | None = None
    """Records without a counterpart that are kept in memory; None: a million. The rest waits on disk."""


@dataclass(frozen=True, slots=True)
class DualWanted:
    """What an operator asked for. `start` inclusive, `until` exclusive, on each side."""

    source: str
    target: str
    partitioner: str
    target_partitioner: str | None = None
    start: Mapping[int, int] = field(default_factory=dict)
    until: Mapping[int, int] = field(default_factory=dict)
    target_start: Mapping[int, int] = field(default_factory=dict)
    target_until: Mapping[int, int] = field(default_factory=dict)
    stamps: Literal["required", "optional"] = "optional"
    align: bool = False
    patience_seconds: float = 10.0
    follow: bool = False
    interval_seconds: float = 1.0
    samples: int = 10
    show_data: bool = False
    off_hash: Literal["violation", "accepted"] = "violation"
    spill_dir: str | None = None


def prepare_dual(cluster: Cluster, connection: Connection, wanted: DualWanted) -> DualAuditConfiguration:
    """Look at both topics; raises UnknownPartitioner, SameTopic, UnknownTopic."""
    if wanted.source == wanted.target:
        raise SameTopic(f"source and target are both {wanted.source}", why="A topic equals itself.", topic=wanted.source)
    names = [wanted.source, wanted.target]
    described = cluster.describe_topics(names, timeout_seconds=ASK_SECONDS)
    configs = cluster.topic_configs(names, timeout_seconds=ASK_SECONDS)
    source, target = (topic_of(described[name], configs[name]) for name in names)
    return DualAuditConfiguration(
        connection=connection.engine(),
        source=source,
        target=target,
        source_from=wanted.start or None,
        target_from=wanted.target_start or None,
        source_until=wanted.until or None,
        target_until=wanted.target_until or None,
        source_partitioner=partitioners.family(wanted.partitioner).name,
        target_partitioner=partitioners.family(wanted.target_partitioner).name if wanted.target_partitioner else None,
        stamps=wanted.stamps,
        align=wanted.align,
        patience_ms=max(1, round(wanted.patience_seconds * 1000)),
        follow=wanted.follow,
        interval_ms=max(1, round(wanted.interval_seconds * 1000)),
        samples=wanted.samples,
        show_data=wanted.show_data,
        off_hash=wanted.off_hash,
        spill_dir=wanted.spill_dir,
    )


class DualAuditing:
    """One process that audits dual writing. `happenings` has one reader; the process is gone when it was stopped."""

    def __init__(self, configuration: DualAuditConfiguration) -> None:
        """Start the process; raises what EngineProcess.start raises."""
        document = {"connection": dict(configuration.connection), **configuration.model_dump(mode="json", exclude_none=True)}
        self._process = EngineProcess.start("dual-audit", document, models=DUAL_AUDIT)
        self.verdict: DualVerdict | None = None
        self.ended = False

    @property
    def pid(self) -> int | None:
        """The process."""
        return self._process.pid

    def happenings(self, seconds: float | None = None) -> Iterator[DualHappening]:
        """What the process tells, to its end or for so long; raises what its faults stand for."""
        for event in self._process.events(seconds):
            if isinstance(event, DualVerdict):
                self.verdict = event
            self.ended = isinstance(event, Stopped)
            if isinstance(event, DualProgress | DualVerdict | VerifiedCut):
                yield event

    def judge(self, cut_source: Mapping[int, int], cut_target: Mapping[int, int], seconds: float = JUDGE_SECONDS) -> Mapping[str, Any]:
        """Following: read both sides to a cut and judge all below; gives window, result, standing and how many are doubtful past it.

        The events come before the answer. An exact VerifiedCut of these vectors is among them if the result is `proved`. It is
        `unproved` when what stands below the cut could not be read within so many seconds.
        """
        answer: Mapping[str, Any] = self._process.request(
            "judge_until",
            seconds=seconds + ANSWER_SECONDS,
            source={str(p): offset for p, offset in cut_source.items()},
            target={str(p): offset for p, offset in cut_target.items()},
            timeout_ms=max(1, round(seconds * 1000)),
        )
        return answer

    def stop(self, reason: str) -> None:
        """End the process."""
        self._process.stop(reason)
