"""Resident memory of one worker that starts with a large backlog: what it holds must not grow with what is left to copy."""

from cutover.engine.configuration import MirrorConfiguration
from tests.bench import mirror
from tests.bench.copies import Copy
from tests.bench.ground import Ground

HOT_KEYS = 8
"""They have half of the records of each twentieth of the backlog: partitions grow unevenly, as they do in life."""


def backlog(
    ground: Ground, records: int, codec: str, pair: tuple[int, int] = (6, 24), value_bytes: int = 200
) -> tuple[Copy, MirrorConfiguration]:
    """Copy a backlog; gives the figures, and the run for whoever goes on with its topics."""
    origin, follower = (
        ground.filled("backlog", pair[0], records, codec, value_bytes=value_bytes, hot=HOT_KEYS),
        ground.topic("backlog.v2", pair[1]),
    )
    config = mirror.configuration(ground, origin, follower)
    return mirror.copy(ground, config, records, 1), config
