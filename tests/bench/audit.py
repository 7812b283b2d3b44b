"""The audit of a finished copy: how fast one process judges, and that what was copied in the benchmark is proved equal."""

from dataclasses import dataclass

from cutover.engine.audit_events import AUDIT, Verdict
from cutover.engine.auditing import AuditConfiguration
from cutover.engine.configuration import MirrorConfiguration
from cutover.engine.process import EngineProcess
from tests.bench.measured import Watched

JUDGE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Judged:
    """One audit. `records_read` counts both sides, `seconds` is the engine's own time for it."""

    result: str
    origin_records: int
    records_read: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        return self.records_read / self.seconds

    @property
    def cpu_us(self) -> float:
        """Per record read."""
        return self.cpu_seconds / self.records_read * 1e6


def judge(config: MirrorConfiguration) -> Judged:
    """Audit all that a run of the mirror has copied."""
    asked = AuditConfiguration(
        connection=config.connection, run_id=config.run_id, group=config.group, origin=config.origin, follower=config.follower,
        partitioner=config.partitioner, null_keys=config.null_keys,
    )  # fmt: skip
    document = asked.model_dump(mode="json", by_alias=True, exclude_none=True)
    with EngineProcess.start("audit", document, models=AUDIT) as process, Watched([process.pid or 0]) as watched:
        verdict = process.wait_for(Verdict, JUDGE_SECONDS)
        used = watched.usage()
    return Judged(verdict.result, verdict.coverage.expected, verdict.records_read, verdict.seconds, used.cpu_seconds, used.peak_bytes)
