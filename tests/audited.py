"""The engine's own audit as a second judge in the fault tests, independent of tests/judge."""

from collections.abc import Iterable, Mapping

from cutover import wiring
from cutover.connection import Connection
from cutover.engine.audit_events import Verdict
from cutover.engine.auditing import Auditing, Wanted, prepare
from tests.judge import Judged
from tests.mirrored import MirroredPair
from tests.naive.mirror import RUN_ID

PATIENCE_SECONDS = 150.0


def audit_of_naive(judged: Judged, until: Mapping[int, int], producer_ids: Iterable[int]) -> Verdict:
    """Audit what the naive loop wrote below these positions; it leaves no marks, so all is said to the audit."""
    connection = Connection.of({"bootstrap.servers": judged.bootstrap})
    wanted = Wanted(judged.origin, judged.follower, judged.family, start=dict.fromkeys(until, 0), until=until, off_hash="accepted")
    with wiring.cluster(connection) as cluster:
        prepared = prepare(cluster, connection, wanted)
    told = {"run_id": RUN_ID.hex(), "group": judged.group, "producer_ids": tuple(sorted(set(producer_ids)))}
    return _verdict(Auditing(prepared.model_copy(update=told)))


def audit_of(pair: MirroredPair) -> Verdict:
    """Audit everything that the mirror has committed."""
    connection = Connection.of({"bootstrap.servers": pair.proxied.bootstrap})
    config = pair.configuration
    with wiring.cluster(connection) as cluster:
        prepared = prepare(cluster, connection, Wanted(config.origin.name, config.follower.name, config.partitioner, run=config.run))
    return _verdict(Auditing(prepared))


def places(verdict: Verdict) -> list[tuple[str, int]]:
    """What an audit found on an origin of one partition: kind and offset there."""
    return [(each.kind, each.origin.offset if each.origin else -1) for each in verdict.samples]


def _verdict(auditing: Auditing) -> Verdict:
    try:
        for _ in auditing.happenings(PATIENCE_SECONDS):
            pass
    finally:
        auditing.stop("judged")
    if auditing.verdict is None:
        raise TimeoutError(f"no verdict within {PATIENCE_SECONDS} s")
    return auditing.verdict
