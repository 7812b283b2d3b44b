"""What the mirror adds to the time from produce() to a read_committed consumer, at a steady rate."""

from typing import Any

from tests.bench import mirror
from tests.bench.ground import Ground

PER_SECOND = 5000


def added(ground: Ground, seconds: float, warm_up: float) -> dict[str, Any]:
    """Quantiles in milliseconds: produce() to the origin, produce() to the follower, and the difference record by record."""
    origin, follower = ground.topic("live", 6), ground.topic("live.v2", 24)
    config = mirror.configuration(ground, origin, follower)
    with mirror.crew(config, 1) as (worker,):
        mirror.wait_taken(worker, config.lanes)
        options = {"per_second": PER_SECOND, "seconds": seconds, "warm_up": warm_up}
        with ground.peer("deliver", topic=origin.name, follower=follower.name, **options) as delivering:
            found: dict[str, Any] = delivering.result().answer
    ground.remove(origin, follower)
    return found
