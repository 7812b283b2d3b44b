"""Everything that the rules judge, asked of the cluster once, in few questions whatever its size. Changes nothing.

What this principal may not ask is noted and left open: that too is a finding.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from cutover.errors import AclsUnavailable, NotAuthorized
from cutover.model import (
    Acl,
    ConfigValue,
    GroupDescription,
    GroupListing,
    GroupState,
    GroupType,
    Isolation,
    Member,
    Position,
    ProducerState,
    TopicDescription,
    TopicPartition,
    open_transactions,
)
from cutover.partitioners import Fit, fit
from cutover.plan import Plan
from cutover.ports import Cluster, Reader
from cutover.preflight.sample import sample
from cutover.preflight.sharing import OURS, of_other_runs, shared
from cutover.protocol import CONTROL_TOPIC, ControlState

TRANSACTION_LOG = "__transaction_state"

UNTOLD = frozenset({GroupType.SHARE, GroupType.STREAMS})
"""Groups of these protocols show neither members nor positions."""

NOBODY_IN = frozenset({GroupState.EMPTY, GroupState.DEAD})
PATIENCE_SECONDS = 2.0
POLL_SECONDS = 0.05
Answer = TypeVar("Answer")
Positions = Mapping[str, Mapping[TopicPartition, Position]]
_NO_GROUPS: tuple[Mapping[str, GroupDescription], Positions] = ({}, {})
_NO_PRODUCERS: Mapping[TopicPartition, tuple[ProducerState, ...]] = {}


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found. `acls` is None where the cluster has no authorizer or refused to say; `control` None where it has none."""

    source: TopicDescription
    configs: Mapping[str, ConfigValue]
    target: TopicDescription | None
    ours: bool
    """Whether the target is one that this run made."""
    topics: frozenset[str]
    begins: Mapping[int, int]
    ends: Mapping[int, int]
    stable: Mapping[int, int]
    """The last stable offsets, once transactions had some time to end; one below its end hides what follows."""
    fit: Fit
    """Which partitioners explain where the sampled keys sit."""
    groups: Mapping[str, GroupDescription]
    positions: Positions
    """On the partitions of the source."""
    producers: Mapping[TopicPartition, tuple[ProducerState, ...]]
    coordinated: Mapping[int, str]
    """The producer ids with a transaction open on the source that a coordinator knows, and their transactional ids."""
    features: Mapping[str, int]
    acls: frozenset[Acl] | None
    control: TopicDescription | None
    control_configs: Mapping[str, ConfigValue]
    log: ControlState
    shared: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Transactional ids that write the source, and the topics of other runs that they write too."""
    transaction_log: TopicDescription | None = None
    transaction_log_configs: Mapping[str, ConfigValue] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    """The questions that this principal may not ask, and what the cluster said; their answers are empty."""

    def elsewhere(self, topic: str, run: str) -> frozenset[str]:
        """The other runs that have an open pair with this topic."""
        return frozenset(each.told.run for each in of_other_runs(self.log, run) if topic in {each.told.source.name, each.told.target.name})

    def config(self, name: str) -> str | None:
        """The effective value of a config of the source."""
        found = self.configs.get(name)
        return found.value if found is not None else None

    def readers(self, group: str) -> tuple[Member, ...]:
        """The members of a group that hold, or ask for, the source."""
        topic = self.source.name
        found = self.groups.get(group)
        members = found.members or () if found is not None else ()
        return tuple(each for each in members if each.holds(topic) or topic in (each.subscribed or ()))

    def on_source(self) -> frozenset[str]:
        """The groups that have a member or a position on the source."""
        reading = {name for name in self.groups if self.readers(name)}
        return frozenset(reading | {name for name, found in self.positions.items() if any(found.values())})


def survey(
    cluster: Cluster, reader: Reader, plan: Plan, log: ControlState, *, ours: str = "", patience_seconds: float = PATIENCE_SECONDS
) -> Survey:
    """Ask everything. Transactions that are open get the patience to end, so that only slow ones are seen.

    `ours` is the topic id of a target that this run created; the control log may name it too. Raises UnknownTopic for the source.
    """
    questions = _Questions(cluster)
    source = cluster.describe_topics([plan.source.topic])[plan.source.topic]
    partitions = source.topic_partitions()
    topics = cluster.topic_names()
    target = cluster.describe_topics([plan.target.topic])[plan.target.topic] if plan.target.topic in topics else None
    told = cluster.describe_topics([TRANSACTION_LOG])[TRANSACTION_LOG] if TRANSACTION_LOG in topics else None
    control = cluster.describe_topics([CONTROL_TOPIC])[CONTROL_TOPIC] if CONTROL_TOPIC in topics else None
    ends = cluster.end_offsets(partitions, Isolation.READ_UNCOMMITTED)
    stable = _stable(cluster, ends, patience_seconds)
    groups, positions = questions.ask("groups", lambda: _groups(cluster, partitions, patience_seconds), _NO_GROUPS)
    producers = questions.ask("producers", lambda: cluster.producers(partitions), _NO_PRODUCERS)
    return Survey(
        source=source,
        configs=questions.ask("configs", lambda: cluster.topic_configs([source.name])[source.name], {}),
        target=target,
        ours=target is not None and target.topic_id in {ours, _told(plan, source, log)},
        topics=topics,
        begins=_by_partition(cluster.begin_offsets(partitions)),
        ends=_by_partition(ends),
        stable=_by_partition(stable),
        fit=questions.ask("records", lambda: sample(cluster, reader, stable), fit((), len(partitions))),
        groups=groups,
        positions=positions,
        producers=producers,
        coordinated=questions.ask("transactions", lambda: _coordinated(cluster, producers), {}),
        features=cluster.features(),
        acls=questions.ask("access rules", lambda: _acls(cluster), None),
        control=control,
        control_configs=questions.ask(
            f"configs of {CONTROL_TOPIC}", lambda: cluster.topic_configs([CONTROL_TOPIC])[CONTROL_TOPIC] if control else {}, {}
        ),
        log=log,
        shared=questions.ask("transactions", lambda: shared(cluster, log, plan.cutover, source.name, producers, topics), {}),
        transaction_log=told,
        transaction_log_configs=questions.ask(
            f"configs of {TRANSACTION_LOG}", lambda: cluster.topic_configs([TRANSACTION_LOG])[TRANSACTION_LOG] if told else {}, {}
        ),
        refused=questions.refused,
    )


@dataclass(slots=True)
class _Questions:
    """Asks, and keeps what was refused."""

    cluster: Cluster
    refused: dict[str, str] = field(default_factory=dict)

    def ask(self, what: str, question: Callable[[], Answer], otherwise: Answer) -> Answer:
        try:
            return question()
        except NotAuthorized as error:
            self.refused[what] = error.what
            return otherwise


def _by_partition(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {where.partition: offset for where, offset in offsets.items()}


def _told(plan: Plan, source: TopicDescription, log: ControlState) -> str:
    """The id of the target that the control log pairs with this source for this run; empty where there is none."""
    told = (each.told for each in log.pairs.values() if not each.closed)
    return next((each.target.id for each in told if each.run == plan.cutover and each.source.id == source.topic_id), "")


def _stable(cluster: Cluster, ends: Mapping[TopicPartition, int], patience_seconds: float) -> dict[TopicPartition, int]:
    """The last stable offsets; those below the ends of before are asked again until the patience is over."""
    deadline = time.monotonic() + patience_seconds
    stable = cluster.end_offsets(list(ends), Isolation.READ_COMMITTED)
    while any(stable[where] < end for where, end in ends.items()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        stable = cluster.end_offsets(list(ends), Isolation.READ_COMMITTED)
    return stable


def _groups(
    cluster: Cluster, partitions: Collection[TopicPartition], patience_seconds: float
) -> tuple[Mapping[str, GroupDescription], Positions]:
    """Every group with its positions on the source. An empty one is described by its listing: only who has members is asked."""
    listed = {name: found for name, found in cluster.groups().items() if not name.startswith(OURS)}
    asked = [name for name, found in listed.items() if found.type not in UNTOLD]
    positions = cluster.committed(asked, partitions, patience_seconds=patience_seconds) if asked else {}
    alive = [name for name in asked if listed[name].state not in NOBODY_IN]
    described = cluster.describe_groups(alive) if alive else {}
    return {name: described.get(name, _memberless(found)) for name, found in listed.items()}, positions


def _memberless(listed: GroupListing) -> GroupDescription:
    return GroupDescription(listed.group, listed.type, listed.state, None if listed.type in UNTOLD else ())


def _coordinated(cluster: Cluster, producers: Mapping[TopicPartition, tuple[ProducerState, ...]]) -> dict[int, str]:
    """Whose open transactions a coordinator knows to be open on that very partition (KIP-664: the others hang)."""
    holders: dict[int, set[TopicPartition]] = {}
    for where, states in open_transactions(producers).items():
        for each in states:
            holders.setdefault(each.producer_id, set()).add(where)
    if not holders:
        return {}
    named = {name: found.producer_id for name, found in cluster.transactions().items() if found.producer_id in holders}
    described = cluster.describe_transactions(named)
    return {named[name]: name for name, found in described.items() if holders[named[name]] <= found.partitions}


def _acls(cluster: Cluster) -> frozenset[Acl] | None:
    try:
        return cluster.acls()
    except AclsUnavailable:
        return None
