"""Opens a run: takes the lease, and puts together everything that its driver has at hand."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from cutover.connection import Connection
from cutover.driver import Driver
from cutover.engine.control import Control
from cutover.engine.keeper import PairKeeper
from cutover.engine.translator import PairTranslator
from cutover.errors import LeaseHeld, TopicReplaced
from cutover.history import History, told_to
from cutover.journal import Journal, RunRow, Tenure
from cutover.kafka.admin import KafkaCluster
from cutover.kafka.appender import Appender
from cutover.kafka.reader import KafkaReader
from cutover.kafka.tail import Tail
from cutover.lifecycle import Order, Seen
from cutover.model import TopicDescription
from cutover.plan import Plan, digest, resolved
from cutover.protocol import CONTROL_TOPIC, Topic
from cutover.switches import JournalledHooks
from cutover.switches.primers import GroupPrimers
from cutover.world import ControlLog, World

STEPS_VERSION = 1
"""Of the list of steps that the journal speaks of: a half-done run of another one is refused."""

LEASE_SECONDS = 30.0
GRACE_SECONDS = 2.0
LOOK_SECONDS = 0.2


@dataclass(slots=True)
class Opened:
    """A world that may be driven, and the lease to do it."""

    world: World
    tenure: Tenure

    def driver(self, wait: Callable[[float], bool], show: Callable[[World, Seen | None], None], *, patient: bool = False) -> Driver:
        """The driver of this run."""
        return Driver(self.world, self.tenure, wait, show, patient=patient)


@contextmanager
def world(plan: Plan, connection: Connection, journal_url: str | None, operator: str, *, tell: Callable[[str], None]) -> Iterator[Opened]:
    """Take the lease, open the journal of the run, and everything that a driver has at hand.

    When the block is left the mirror's workers go on for their grace time.
    Raises LeaseHeld, PlanChanged, UnknownTopic, NoBroker.
    """
    with ExitStack() as ends:
        admin = ends.enter_context(KafkaCluster(connection))
        sources = [_source(admin, each) for each in plan.of_each_pair()]
        cluster_id = admin.cluster_id()
        journal = ends.enter_context(Journal.open(journal_url))
        journal.begin(RunRow(plan.cutover, f"{cluster_id}/{sources[0].id}", digest(plan), resolved(plan), STEPS_VERSION))
        tenure = _take(journal, plan.cutover, tell)
        ends.callback(tenure.release)
        hand = ends.enter_context(Control(connection, admin, transactional_id=_driver_id(sources[0])))
        if len(sources) > 1:  # whoever drives one of the others alone is deposed
            hand.fence([_driver_id(each) for each in sources[1:]])
        log = ControlLog(CONTROL_TOPIC, hand, lambda: Tail(connection, CONTROL_TOPIC), lambda: Appender(connection, CONTROL_TOPIC))
        ends.callback(log.close)
        build = partial(
            World,
            plan_digest=digest(plan),
            cluster_id=cluster_id,
            operator=operator,
            cluster=admin,
            reader=KafkaReader(connection),
            hand=hand,
            log=log,
            write=tenure.write,
            tell=tell,
            has_control=CONTROL_TOPIC in admin.topic_names(),
            run_plan=plan,
        )
        worlds = tuple(_of_each_pair(plan, sources, journal, build))
        for each in worlds:
            each.together = worlds
            ends.enter_context(_equipped(each, connection, hand))
        yield Opened(worlds[0], tenure)


def _of_each_pair(plan: Plan, sources: Sequence[Topic], journal: Journal, build: Callable[..., World]) -> Iterator[World]:
    """A world for each pair; the first one's steps in the journal are the run's, the others' begin with their sources."""
    entries = journal.entries(plan.cutover)
    for number, (of_pair, source) in enumerate(zip(plan.of_each_pair(), sources, strict=True)):
        scope = f"{source.name}/" if number else ""
        yield build(plan=of_pair, source=source, scope=scope, history=History.of(Order(plan.order), told_to(scope, entries)))


@contextmanager
def _equipped(built: World, connection: Connection, hand: Control) -> Iterator[None]:
    """Give a world what works for its pair: mirror and audit, translations, hooks, primers."""
    _require_same_source(built)
    built.keeper = PairKeeper(built, connection)
    built.translator = PairTranslator(built, hand)
    built.hooks = JournalledHooks()
    built.primers = GroupPrimers(built, connection)
    try:
        yield
    finally:
        with ExitStack() as ends:
            ends.callback(built.primers.close)
            ends.callback(built.keeper.leave)


def _driver_id(source: Topic) -> str:
    """The transactional id of whoever drives the pair of this source: one per topic."""
    return f"cutover.driver.{source.id}"


def _take(journal: Journal, run: str, tell: Callable[[str], None]) -> Tenure:
    """Take the lease; one whose holder was a process of this host that is gone is waited for, anybody else's is not."""
    me = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    deadline = time.monotonic() + LEASE_SECONDS + GRACE_SECONDS
    told = False
    while True:
        try:
            return Tenure.take(journal, run, me, LEASE_SECONDS)
        except LeaseHeld as error:
            holder = str(error.fields.get("holder", ""))
            if not _is_dead_here(holder) or time.monotonic() > deadline:
                raise
            if not told:
                tell(f"the driver before this one ({holder}) is gone; its lease ends within {LEASE_SECONDS:g} s")
            told = True
            time.sleep(LOOK_SECONDS)


def _is_dead_here(holder: str) -> bool:
    host, _, rest = holder.partition(":")
    number = rest.partition(":")[0]
    if host != socket.gethostname() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _source(admin: KafkaCluster, plan: Plan) -> Topic:
    found: TopicDescription = admin.describe_topics([plan.source.topic])[plan.source.topic]
    return Topic(name=found.name, id=found.topic_id, partitions=len(found.partitions))


def _require_same_source(built: World) -> None:
    """The run was begun on this very topic, with these very partitions."""
    known = built.fact("begin")
    now = built.source.model_dump()
    if known is None:
        built.record("outcome", "begin", {"source": now, "cluster_id": built.cluster_id, "operator": built.operator})
    elif known["source"] != now:
        raise TopicReplaced(
            f"{built.source.name} is not the topic that the run was begun on",
            why=f"It was {known['source']} and is {now}.",
            was=known["source"],
            now=now,
        )
