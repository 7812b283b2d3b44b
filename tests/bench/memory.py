"""Resident memory of one worker that starts with a large backlog: what it holds must not grow with what is left to copy."""

from cutover.engine.configuration import MirrorConfiguration
from tests.bench import mirror
from tests.bench.copies import Copy
from tests.bench.ground import Ground


def backlog(
    ground: Ground, records: int, codec: str, pair: tuple[int, int] = (6, 24), value_bytes: int = 200
) -> tuple[Copy, MirrorConfiguration]:
    """Copy a backlog; gives the figures, and the run for whoever goes on with its topics."""
    origin, follower = ground.filled("backlog", pair[0], records, codec, value_bytes), ground.topic("backlog.v2", pair[1])
    config = mirror.configuration(ground, origin, follower)
    return mirror.copy(ground, config, records, 1), config
