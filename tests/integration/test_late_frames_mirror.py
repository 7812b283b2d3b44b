"""The same late frames under the real mirror: it gets over each by itself, and the late bytes change nothing.

The frame is released while the broker has records of a later transaction of the same lane and no end of it: the answer to that
transaction's Produce is withheld until the late frame was answered.
"""

from functools import partial

import pytest

from tests.audited import audit_of
from tests.judge import Verdict
from tests.mirrored import MirroredPair, PositionWatch, Traffic
from tests.proxied import ProxiedKafka, on_versions
from tests.proxy import Held, Proxy, Request
from tests.proxy.rules import Mode

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

INVALID_PRODUCER_EPOCH, PRODUCER_FENCED = 47, 90
KIP_890_PART_2 = 5
ENDING: list[Mode] = ["close", "reset"]


def same_lane(held: Held, request: Request) -> bool:
    late, now = held.wait().transactional, request.transactional
    return late is not None and now is not None and late.transactional_id == now.transactional_id


@pytest.mark.parametrize("mode", ["stall", *(pytest.param(each, marks=pytest.mark.slow) for each in ENDING)])
@pytest.mark.parametrize("api", ["EndTxn", "TxnOffsetCommit"])
@on_versions(2, 1, slow=(1,))
def test_a_late_frame_changes_nothing_for_the_mirror(proxied: ProxiedKafka, proxy: Proxy, api: str, mode: Mode) -> None:
    pair = MirroredPair.create(proxied, proxy.bootstrap, lanes=2)
    held = proxy.hold(api, nth=5, when=pair.is_mine, mode=mode)
    traffic = Traffic(proxied.bootstrap, pair.origin).burst(300)
    with PositionWatch(pair).watching(), pair.worker() as worker:
        with traffic:
            held.wait()
            proxy.on("Produce", lambda _: held.release(), when=partial(same_lane, held), moment="before_answer").wait()
        pair.wait_caught_up(worker)

    verdict, audit = pair.verdict(), audit_of(pair)
    assert (verdict, verdict.records) == (Verdict(), traffic.written)
    assert (audit.result, audit.coverage.proved) == ("proved", traffic.written)
    assert held.answered.result().error_code in {INVALID_PRODUCER_EPOCH, PRODUCER_FENCED}
    assert sum(proxy.versions("InitProducerId").values()) > pair.configuration.lanes, "the lane fenced itself"


@on_versions(2, 1, slow=(1,))
def test_the_mirror_ends_its_transactions_in_the_version_that_the_cluster_allows(proxied: ProxiedKafka, proxy: Proxy) -> None:
    pair = MirroredPair.create(proxied, proxy.bootstrap, lanes=2)
    traffic = Traffic(proxied.bootstrap, pair.origin).burst(300)
    with pair.worker() as worker:
        with traffic:
            proxy.wait_seen("EndTxn", 20)
        pair.wait_caught_up(worker)

    used = set(proxy.versions("EndTxn"))
    assert used == {KIP_890_PART_2} if proxied.transaction_version == 2 else max(used) < KIP_890_PART_2
