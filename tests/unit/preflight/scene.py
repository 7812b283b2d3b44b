"""A healthy topic, a plan that fits it, and what is found when one thing of either is spoiled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cutover.model import Committed, ConfigSource, ConfigValue, TopicPartition
from cutover.partitioners import partition
from cutover.plan import Plan
from cutover.preflight import Finding, Survey, findings, survey
from cutover.protocol import ControlState
from cutover.twin import Twin

SOUND = {"min.insync.replicas": "2"}
PLAN: Mapping[str, Any] = {
    "cutover": "orders-3-to-12",
    "cluster": {"bootstrap": "localhost:9092"},
    "source": {"topic": "orders"},
    "target": {"topic": "orders.v2", "partitions": 12},
    "partitioner": "murmur2",
    "producers": [{"name": "order-service", "owner": "team-orders", "switch": "sdk", "principal": "User:order-service"}],
    "groups": [{"name": "balances", "owner": "team-ledger", "switch": "sdk"}],
}


def plan(**changed: object) -> Plan:
    return Plan.model_validate({**PLAN, **changed})


def target(**changed: object) -> dict[str, object]:
    return {**PLAN["target"], **changed}


def group(name: str = "balances", **changed: object) -> dict[str, object]:
    return {"name": name, "owner": "team-ledger", "switch": "sdk", **changed}


def configs(told: Mapping[str, ConfigValue], **changed: str) -> dict[str, ConfigValue]:
    """Config values, with some set on the topic; `__` in a name stands for a dot."""
    return {**told, **{name.replace("__", "."): ConfigValue(value, ConfigSource.TOPIC) for name, value in changed.items()}}


@dataclass
class Scene:
    """The topic `orders` of three partitions, read by the group `balances`."""

    twin: Twin = field(default_factory=lambda: Twin(brokers=3))
    replicas: int = 3
    partitions: int = 3
    configs: Mapping[str, str] = field(default_factory=lambda: SOUND)

    def __post_init__(self) -> None:
        self.twin.create_topic("orders", self.partitions, replication_factor=self.replicas, configs=self.configs)
        self.write(200)
        self.commit("balances", dict.fromkeys(range(self.partitions), 1))

    def write(self, count: int, family: str = "murmur2") -> None:
        producer = self.twin.idempotent_producer()
        for number in range(count):
            key = b"key-%d" % number
            self.twin.append(TopicPartition("orders", partition(family, key, self.partitions)), key, b"v", producer=producer)

    def commit(self, name: str, positions: Mapping[int, int]) -> None:
        self.twin.alter_offsets(name, {TopicPartition("orders", p): Committed(offset) for p, offset in positions.items()})

    def look(self, wanted: Plan | None = None, log: ControlState | None = None, *, ours: str = "") -> Survey:
        return survey(self.twin, self.twin, wanted or plan(), log or ControlState(), ours=ours, patience_seconds=0)

    def found(self, wanted: Plan | None = None, log: ControlState | None = None) -> dict[str, Finding]:
        return by_id(findings(wanted or plan(), self.look(wanted, log)))


def by_id(found: tuple[Finding, ...]) -> dict[str, Finding]:
    """Each finding by its id; of several with one id the first."""
    return {each.id: each for each in reversed(found)}


def judged(seen: Survey, wanted: Plan | None = None) -> dict[str, Finding]:
    return by_id(findings(wanted or plan(), seen))
