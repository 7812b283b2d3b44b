"""The audit of dual writing: how fast one process pairs the records of two topics that hold the same."""

from cutover.engine.configuration import Topic
from cutover.engine.dual_auditing import DualAuditConfiguration
from cutover.engine.dual_events import DUAL_AUDIT, DualVerdict
from cutover.engine.process import EngineProcess
from tests.bench.audit import JUDGE_SECONDS, Judged
from tests.bench.ground import Ground
from tests.bench.measured import Watched


def judge(ground: Ground, source: Topic, target: Topic) -> Judged:
    """Pair all records of both topics."""
    asked = DualAuditConfiguration(
        connection={"bootstrap_servers": [ground.bootstrap], "security_protocol": "plaintext"},
        source=source,
        target=target,
        source_partitioner="murmur2",
    )
    document = asked.model_dump(mode="json", exclude_none=True)
    with EngineProcess.start("dual-audit", document, models=DUAL_AUDIT) as process, Watched([process.pid or 0]) as watched:
        verdict = process.wait_for(DualVerdict, JUDGE_SECONDS)
        used = watched.usage()
    return Judged(verdict.result, verdict.coverage.matched, verdict.records_read, verdict.seconds, used.cpu_seconds, used.peak_bytes)
