"""One run of the mirror from this host: prepared without changing anything, then driven until it has caught up or is asked to stop."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cutover import partitioners
from cutover.connection import Connection
from cutover.engine import pair as pairs
from cutover.engine.configuration import MirrorConfiguration, Rate, Start
from cutover.engine.crew import Crew, Restart
from cutover.engine.events import LaneChange, Progress, Ready, Stopped
from cutover.engine.pair import Pair, Standing
from cutover.engine.status import Board, MirrorStatus
from cutover.errors import NoBroker, UnknownNullKeyPolicy, Unreachable
from cutover.model import Isolation, TopicPartition
from cutover.ports import Cluster
from cutover.run import Run, default_name

POLL_SECONDS = 0.1
STATUS_SECONDS = 1.0
LOOK_SECONDS = 2.0
"""How often Kafka is asked about the partitions that no worker of this host holds."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator asked for."""

    origin: str
    follower: str
    partitioner: str
    run: str | None = None
    workers: int = 1
    lanes: int | None = None
    rate: Rate = field(default_factory=Rate)
    start: Start = field(default_factory=Start)
    null_keys: str = "keep_partition"
    allow_shrink: bool = False
    grace_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A mirror that may be started: both topics looked at, the run named, its ends frozen."""

    pair: Pair
    run: Run
    standing: Standing
    configuration: MirrorConfiguration
    workers: int


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Everything below the frozen ends is on the follower and committed."""

    status: MirrorStatus


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Every worker of this host was told by somebody else to stop."""

    status: MirrorStatus


Happening = MirrorStatus | Restart | Ready | LaneChange | Stopped | CaughtUp | Abandoned


def prepare(cluster: Cluster, connection: Connection, wanted: Wanted) -> Prepared:
    """Look at everything that can be wrong, input first, then the cluster; raises the first and has changed nothing."""
    family = require_known_words(wanted)
    with naming(connection):
        pair = pairs.inspect(cluster, wanted.origin, wanted.follower, null_keys=wanted.null_keys, allow_shrink=wanted.allow_shrink)
    run = Run.of(wanted.run or default_name(wanted.origin, wanted.follower), pair.origin.id, pair.follower.id)
    pairs.require_placement(cluster, pair, run, family, wanted.null_keys)
    lanes = pairs.choose_lanes(cluster, pair, run, wanted.lanes)
    configuration = MirrorConfiguration(
        grace_seconds=wanted.grace_seconds,
        connection=connection.engine(),
        run=run.name,
        run_id=run.run_id,
        group=run.group,
        origin=pair.origin,
        follower=pair.follower,
        partitioner=family,
        null_keys=wanted.null_keys,
        start=wanted.start,
        lanes=lanes,
        rate=wanted.rate.shared_by(wanted.workers),
    )
    return Prepared(pair, run, pairs.standing(cluster, pair, run, wanted.start), configuration, wanted.workers)


def require_known_words(wanted: Wanted) -> str:
    """The name of the partitioner's family; raises UnknownPartitioner, UnknownNullKeyPolicy. Asks no cluster."""
    family = partitioners.family(wanted.partitioner).name
    if wanted.null_keys not in partitioners.NULL_KEY_POLICIES:
        raise UnknownNullKeyPolicy(f"policy for null keys {wanted.null_keys!r} is not known", known=list(partitioners.NULL_KEY_POLICIES))
    return family


@contextmanager
def naming(connection: Connection) -> Iterator[None]:
    """Turns a NoBroker into one that says which servers were asked."""
    try:
        yield
    except NoBroker as error:
        servers = ", ".join(connection.bootstrap_servers)
        raise NoBroker(f"no broker answered at {servers} within {pairs.ASK_SECONDS:g} s", why=error.why, bootstrap=servers) from error


class Mirroring:
    """Drives the crew and tells what happens; it leaves starting and stopping the crew to its caller."""

    def __init__(self, cluster: Cluster, prepared: Prepared, crew: Crew, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is started."""
        self._cluster = cluster
        self._prepared = prepared
        self._crew = crew
        self._clock = clock
        self._board = Board(prepared.standing)
        self._look_at = clock() + LOOK_SECONDS
        self._unseen = ""

    def status(self) -> MirrorStatus:
        """The status now."""
        self._board.records_before = self._crew.copied_by_the_dead
        return self._board.sum_up(self._clock(), self._crew.statuses(), self._unseen)

    def happenings(self, wait: Callable[[float], bool], *, until_caught_up: bool) -> Iterator[Happening]:
        """What happens, with a status each second, until `wait` says to stop or everything wanted is done.

        Raises what ends the mirror: a fault about the data, or a worker that keeps dying.
        """
        next_status = self._clock()
        while True:
            yield from self._news()
            self._look_at_the_rest()
            if until_caught_up and self._board.caught_up():
                yield CaughtUp(self.status())
                return
            if self._crew.abandoned():
                yield Abandoned(self.status())
                return
            if self._clock() >= next_status:
                next_status = self._clock() + STATUS_SECONDS
                yield self.status()
            if wait(POLL_SECONDS):
                return

    def _news(self) -> Iterator[Happening]:
        for happened in self._crew.poll():
            if isinstance(happened, Progress):
                self._board.learn(happened.committed, happened.ends)
            elif isinstance(happened, Restart | Ready | LaneChange | Stopped):
                yield happened

    def _look_at_the_rest(self) -> None:
        """Ask Kafka where the partitions stand that no worker here holds: workers of other hosts commit into the same group."""
        if self._clock() < self._look_at:
            return
        pair, held = self._prepared.pair, self._crew.held_partitions()
        rest = [TopicPartition(pair.origin.name, each) for each in range(pair.origin.partitions) if each not in held]
        if rest:
            try:
                committed = pairs.committed_positions(self._cluster, pair, self._prepared.run)
                ends = self._cluster.end_offsets(rest, Isolation.READ_COMMITTED, timeout_seconds=LOOK_SECONDS)
                self._board.learn(committed, {where.partition: end for where, end in ends.items()})
                self._unseen = ""
            except Unreachable as error:
                self._unseen = error.what
        self._look_at = self._clock() + LOOK_SECONDS
