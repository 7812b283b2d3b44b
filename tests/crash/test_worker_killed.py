"""A worker dies, or is frozen, at each call of a transaction, while a producer goes on writing; another worker takes its lanes.

The proxy kills when it sees the call on the wire, so the binary has no hooks. The stories run side by side: each waits some seconds
for Kafka to notice that the dead worker has left the group.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from cutover.engine import audit_events
from cutover.engine.process import EngineProcess
from tests.audited import audit_of
from tests.judge import Verdict
from tests.mirrored import MirroredPair, PositionWatch, Traffic
from tests.proxied import ProxiedKafka, ProxiedKafkas
from tests.proxy import Answer, Proxy, Request, Rule
from tests.proxy.rules import ANY_API, Action, ProduceOfTransaction

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

INVALID_PRODUCER_EPOCH, PRODUCER_FENCED = 47, 90
Ambush = Callable[[Proxy, MirroredPair, Action], Rule]
VALUE_BYTES = 6000
BACKLOG = 1200  # records; so much that transactions of the backlog do not fit into one Produce request
AT_ONCE = 2  # all together starve each other on a slow machine
LATER = 5  # the first transactions only pin where the lanes start


@dataclass(frozen=True)
class Outcome:
    """What is left when the successor has caught up."""

    verdict: Verdict
    audit: audit_events.Verdict
    written: int
    late_answer: Answer | None = None


def before_its_positions_arrive(proxy: Proxy, pair: MirroredPair, kill: Action) -> Rule:
    return proxy.on("TxnOffsetCommit", kill, nth=LATER, when=pair.is_mine, forward=False)


def before_its_first_records_arrive(proxy: Proxy, pair: MirroredPair, kill: Action) -> Rule:
    return proxy.on(ANY_API, kill, nth=LATER, when=ProduceOfTransaction(1, pair.is_mine), forward=False)


def between_two_of_its_produce_requests(proxy: Proxy, pair: MirroredPair, kill: Action) -> Rule:
    return proxy.on(ANY_API, kill, when=ProduceOfTransaction(2, pair.is_mine), forward=False)


def before_its_commit_arrives(proxy: Proxy, pair: MirroredPair, kill: Action) -> Rule:
    return proxy.on("EndTxn", kill, nth=LATER, when=pair.is_mine, forward=False)


def after_its_commit_was_carried_out(proxy: Proxy, pair: MirroredPair, kill: Action) -> Rule:
    return proxy.on("EndTxn", kill, nth=LATER, when=pair.is_mine, moment="before_answer", forward=False)


def killed(ambush: Ambush, proxied: ProxiedKafka, proxy: Proxy, pair: MirroredPair) -> Outcome:
    """One worker is killed at a call, another takes over, the traffic ends, everything is copied."""
    doomed: Future[EngineProcess] = Future()
    trap = ambush(proxy, pair, lambda _: doomed.result().kill())
    traffic = Traffic(proxied.bootstrap, pair.origin, value_bytes=VALUE_BYTES, per_second=100).burst(BACKLOG)
    with ExitStack() as stack, PositionWatch(pair).watching():
        with traffic:
            doomed.set_result(pair.worker())
            stack.callback(doomed.result().kill)
            trap.wait()
            successor = stack.enter_context(pair.worker())
            pair.wait_recovered(successor)
        pair.wait_caught_up(successor)
    return Outcome(pair.verdict(), audit_of(pair), traffic.written)


def frozen(proxied: ProxiedKafka, proxy: Proxy, pair: MirroredPair) -> Outcome:
    """One worker is frozen with its commit on the way; it goes on, and its commit arrives, when another has its lanes."""
    worker: Future[EngineProcess] = Future()

    def freeze(_: Request) -> None:
        os.kill(pid_of(worker.result()), signal.SIGSTOP)

    held = proxy.hold("EndTxn", nth=LATER, when=pair.is_mine, mode="stall", action=freeze)
    traffic = Traffic(proxied.bootstrap, pair.origin, value_bytes=VALUE_BYTES, per_second=100).burst(BACKLOG)
    with ExitStack() as stack, PositionWatch(pair).watching():
        with traffic:
            worker.set_result(pair.worker())
            stack.callback(worker.result().kill)
            held.wait()
            successor = stack.enter_context(pair.worker())
            pair.wait_recovered(successor)
            os.kill(pid_of(worker.result()), signal.SIGCONT)
            answer = held.release()
        pair.wait_caught_up(successor)
    return Outcome(pair.verdict(), audit_of(pair), traffic.written, answer)


def pid_of(worker: EngineProcess) -> int:
    assert worker.pid is not None
    return worker.pid


AMBUSHES = [
    before_its_positions_arrive,
    before_its_first_records_arrive,
    between_two_of_its_produce_requests,
    before_its_commit_arrives,
    after_its_commit_was_carried_out,
]
ON_TRANSACTION_VERSION: Mapping[int, list[Ambush]] = {2: [*AMBUSHES], 1: [between_two_of_its_produce_requests, *AMBUSHES[3:]]}
FROZEN = "frozen"
Stories = Mapping[str, "Future[Outcome]"]


@pytest.fixture(scope="module")
def tell(proxied_kafkas: ProxiedKafkas) -> Iterator[Callable[[int], Stories]]:
    """Begins the stories of a transaction.version, some side by side, when the first of them is asked for."""
    told: dict[int, Stories] = {}
    with ExitStack() as stack:

        def begin(transaction_version: int) -> Stories:
            if transaction_version not in told:
                proxied = proxied_kafkas.of(transaction_version)
                proxy = stack.enter_context(proxied.proxy())
                ambushes = ON_TRANSACTION_VERSION[transaction_version]
                pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
                pairs = [MirroredPair.create(proxied, proxy.bootstrap, lanes=2) for _ in range(len(ambushes) + 1)]
                begun = {
                    each.__name__: pool.submit(killed, each, proxied, proxy, pair) for each, pair in zip(ambushes, pairs, strict=False)
                }
                told[transaction_version] = {**begun, FROZEN: pool.submit(frozen, proxied, proxy, pairs[-1])}
            return told[transaction_version]

        yield begin


def of_both_versions(names: Callable[[int], list[str]]) -> list[object]:
    """The older version in the campaign."""
    older = (pytest.mark.slow,)
    return [
        pytest.param(
            version, name, marks=[pytest.mark.xdist_group(f"proxied-{version}"), *(older if version == 1 else ())], id=f"tv{version}-{name}"
        )
        for version in ON_TRANSACTION_VERSION
        for name in names(version)
    ]


@pytest.mark.parametrize(
    ("transaction_version", "when"), of_both_versions(lambda version: [each.__name__ for each in ON_TRANSACTION_VERSION[version]])
)
def test_a_worker_that_is_killed_leaves_nothing_lost_and_nothing_twice(
    tell: Callable[[int], Stories], transaction_version: int, when: str
) -> None:
    outcome = tell(transaction_version)[when].result()

    assert (outcome.verdict, outcome.verdict.records) == (Verdict(), outcome.written)
    assert (outcome.audit.result, outcome.audit.coverage.proved) == ("proved", outcome.written)


@pytest.mark.parametrize(("transaction_version", "when"), of_both_versions(lambda _: [FROZEN]))
def test_a_frozen_worker_that_goes_on_after_its_successor_took_over_changes_nothing(
    tell: Callable[[int], Stories], transaction_version: int, when: str
) -> None:
    outcome = tell(transaction_version)[when].result()

    assert (outcome.verdict, outcome.verdict.records) == (Verdict(), outcome.written)
    assert (outcome.audit.result, outcome.audit.coverage.proved) == ("proved", outcome.written)
    assert outcome.late_answer is not None
    assert outcome.late_answer.error_code in {INVALID_PRODUCER_EPOCH, PRODUCER_FENCED}
