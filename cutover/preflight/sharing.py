"""Which transactional producers write a source and a topic that another run switches: by what the cluster and the control log tell.

Three witnesses: the producers that partition leaders remember, the transactions that are open now, and the instances that have joined.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from cutover.errors import UnknownTopic
from cutover.model import ProducerState, TopicPartition
from cutover.ports import Cluster
from cutover.protocol import ControlState, PairState

OURS = "cutover."
"""How the groups and transactional ids of cutover's own begin."""

ATTEMPTS = 4
"""A broker may not have heard yet that a topic is there, or gone."""

Remembered = Mapping[TopicPartition, Iterable[ProducerState]]


def of_other_runs(log: ControlState, run: str) -> list[PairState]:
    """The open pairs of other runs."""
    return [each for each in log.pairs.values() if not each.closed and each.told.run != run]


def shared(
    cluster: Cluster, log: ControlState, run: str, source: str, producers: Remembered, topics: Collection[str]
) -> dict[str, frozenset[str]]:
    """Transactional ids that write the source, and the topics of other runs' pairs that they write too. `producers` are the source's."""
    told = {topic.name for each in of_other_runs(log, run) for topic in (each.told.source, each.told.target)}
    others = (told & set(topics)) - {source}
    if not others:
        return {}
    found: dict[str, set[str]] = defaultdict(set)
    for name, topic in (*_known_to_the_cluster(cluster, source, producers, others), *_joined(log, source, others)):
        found[name].add(topic)
    return {name: frozenset(each) for name, each in found.items()}


def _known_to_the_cluster(cluster: Cluster, source: str, producers: Remembered, others: Collection[str]) -> Iterator[tuple[str, str]]:
    named = {name: each.producer_id for name, each in cluster.transactions().items() if not name.startswith(OURS)}
    here = {each.producer_id for states in producers.values() for each in states}
    there = {(each.producer_id, topic) for topic in others for states in _remembered(cluster, topic).values() for each in states}
    yield from ((name, topic) for name, writer in named.items() for known, topic in there if known == writer and writer in here)
    for name, described in cluster.describe_transactions(named).items():
        enlisted = {where.topic for where in described.partitions}
        yield from ((name, topic) for topic in enlisted & set(others) if source in enlisted)


def _remembered(cluster: Cluster, topic: str) -> Remembered:
    """What the leaders of a topic remember; its run may have removed it meanwhile, or have just created it."""
    for _ in range(ATTEMPTS):
        try:
            return cluster.producers(cluster.describe_topics([topic])[topic].topic_partitions())
        except UnknownTopic:
            if topic not in cluster.topic_names():
                return {}
    return cluster.producers(cluster.describe_topics([topic])[topic].topic_partitions())


def _joined(log: ControlState, source: str, others: Collection[str]) -> Iterator[tuple[str, str]]:
    """Instances under one transactional id; who follows several topics joins for each."""
    joined = [each.joined for each in log.instances.values()]
    here = {each.transactional_id for each in joined if each.topic == source}
    for each in joined:
        if each.transactional_id is not None and each.transactional_id in here and each.topic in others:
            yield each.transactional_id, each.topic
