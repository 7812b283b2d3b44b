"""Priming on a real Kafka: what a live group finds when its owner redeploys it to the other topic, whatever the way."""

import time
from collections.abc import Callable

import pytest

from cutover.model import PENDING, Committed
from cutover.priming import Standing, Wishes
from cutover.protocol import Side
from tests.conftest import MakeTopic, WaitUntil
from tests.primed import Judged, PrimedGroup, java, primed_group, python

pytestmark = pytest.mark.kafka

PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", pytest.param("consumer", marks=pytest.mark.slow)])
REDEPLOYS = pytest.mark.parametrize("redeploy", [PrimedGroup.rolling, pytest.param(PrimedGroup.restart, marks=pytest.mark.slow)])
MEMBERS = 3
PATIENCE_SECONDS = 150.0
GATED = Wishes(gated=True)


def begin(made: PrimedGroup, wait_until: WaitUntil, wishes: Wishes) -> None:
    """The group reads S, has committed everywhere, and may be redeployed."""
    for _ in range(MEMBERS):
        made.join(Side.SOURCE)
    wait_until(lambda: made.holders(made.source) == MEMBERS, PATIENCE_SECONDS, "every member has partitions of S")
    wait_until(made.has_begun, PATIENCE_SECONDS, "it has committed on every partition")
    made.judge_from_now()
    made.prime(wishes)
    made.tick_in_a_loop()
    wait_until(lambda: made.is_at(Standing.READY), PATIENCE_SECONDS, "every partition of T has a position")


def finish(made: PrimedGroup, wait_until: WaitUntil, standing: Standing) -> Judged:
    wait_until(lambda: made.is_at(standing), PATIENCE_SECONDS, f"it is {standing}")
    made.stop_writing()
    wait_until(made.drained, PATIENCE_SECONDS, "everything written was read")
    return made.judge()


@pytest.mark.slow
@PROTOCOLS
@REDEPLOYS
def test_a_java_group_that_is_redeployed_at_the_gate_reads_everything_once(
    bootstrap: str, topic: MakeTopic, wait_until: WaitUntil, protocol: str, redeploy: Callable[[PrimedGroup, int], None]
) -> None:
    with primed_group(bootstrap, java(protocol), topic) as made:
        begin(made, wait_until, GATED)
        redeploy(made, MEMBERS)
        judged = finish(made, wait_until, Standing.RELEASED)
        assert (judged.lost, judged.again, judged.disordered) == (0, 0, 0)
        assert made.primer.early == {}


@pytest.mark.slow
@PROTOCOLS
def test_without_a_gate_a_group_that_starts_when_the_last_positions_are_there_reads_everything_once(
    bootstrap: str, topic: MakeTopic, wait_until: WaitUntil, protocol: str
) -> None:
    with primed_group(bootstrap, python(protocol), topic) as made:
        begin(made, wait_until, Wishes())
        for member in made.members:
            member.stop()
        wait_until(lambda: made.is_at(Standing.FINAL), PATIENCE_SECONDS, "the last commits are primed")
        told = made.cluster.committed([made.group], made.primer.route.there)[made.group]
        assert all(isinstance(each, Committed) for each in told.values())
        for _ in range(MEMBERS):
            made.join(Side.TARGET)
        judged = finish(made, wait_until, Standing.STARTED)
        assert (judged.lost, judged.again, judged.disordered) == (0, 0, 0)
        assert made.primer.evidence()["duplicates"] == 0


@pytest.mark.slow
@PROTOCOLS
@REDEPLOYS
def test_without_a_gate_and_without_waiting_a_group_loses_nothing(
    bootstrap: str, topic: MakeTopic, wait_until: WaitUntil, protocol: str, redeploy: Callable[[PrimedGroup, int], None]
) -> None:
    with primed_group(bootstrap, python(protocol), topic) as made:
        begin(made, wait_until, Wishes())
        redeploy(made, MEMBERS)
        assert finish(made, wait_until, Standing.STARTED).lost == 0


def test_primes_are_committed_while_the_gate_keeps_them_pending_for_others(bootstrap: str, topic: MakeTopic, wait_until: WaitUntil) -> None:
    with primed_group(bootstrap, python("classic"), topic) as made:
        begin(made, wait_until, GATED)
        wait_until(lambda: made.primer.commits >= 2, PATIENCE_SECONDS, "positions on T follow those on S")
        where = made.primer.route.there
        assert set(made.cluster.committed([made.group], where)[made.group].values()) == {PENDING}
        first = made.cluster.decided(made.group, where)
        assert all(made.primer.route.ours(each) for each in first.values())
        commits = made.primer.commits
        wait_until(lambda: made.primer.commits > commits, PATIENCE_SECONDS, "the next prime")
        assert made.cluster.decided(made.group, where) != first


@pytest.mark.slow
def test_the_gate_outlives_its_transactions(bootstrap: str, topic: MakeTopic, wait_until: WaitUntil) -> None:
    with primed_group(bootstrap, python("classic"), topic) as made:
        made.hand_seconds = 5.0
        begin(made, wait_until, GATED)
        wait_until(lambda: all_pending(made), 10, "the gate is held")
        holding: list[str] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(holding) < 5 and time.monotonic() < deadline:
            assert all_pending(made)
            holding += [each for each in made.left_open() if [each] != holding[-1:]]
        assert len(holding) >= 5


def all_pending(made: PrimedGroup) -> bool:
    return set(made.cluster.committed([made.group], made.primer.route.there)[made.group].values()) == {PENDING}
