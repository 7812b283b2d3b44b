"""The broker dies as by a power cut under a mirror and a producer at work, and comes back."""

import pytest

from tests.audited import audit_of
from tests.judge import Verdict
from tests.mirrored import MirroredPair, Traffic
from tests.proxied import ON_BOTH_VERSIONS, ProxiedKafka
from tests.proxy import Proxy

pytestmark = pytest.mark.kafka


@ON_BOTH_VERSIONS
def test_a_broker_that_is_killed_and_restarted_costs_the_mirror_nothing_but_time(proxied: ProxiedKafka, proxy: Proxy) -> None:
    pair = MirroredPair.create(proxied, proxy.bootstrap, lanes=2)
    traffic = Traffic(proxied.bootstrap, pair.origin).burst(300)
    with pair.worker() as worker:
        with traffic:
            proxy.wait_seen("EndTxn", 20)
            proxied.kafka.broker(1).kill()
            proxied.kafka.broker(1).start()
            ended = sum(proxy.versions("EndTxn").values())
            proxy.wait_seen("EndTxn", ended + 20, timeout_seconds=60)
        pair.wait_caught_up(worker)

    verdict, audit = pair.verdict(), audit_of(pair)
    assert (verdict, verdict.records) == (Verdict(), traffic.written)
    assert (audit.result, audit.coverage.proved) == ("proved", traffic.written)
