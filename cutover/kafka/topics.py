"""Topics and their configs, deleted by id and never by name alone."""

import base64
import uuid
from collections.abc import Collection, Mapping

from confluent_kafka import TopicCollection
from confluent_kafka import TopicPartition as Where
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, OffsetSpec, ResourceType
from confluent_kafka.admin import ConfigSource as Source
from confluent_kafka.admin import TopicDescription as Described

from cutover.errors import NotReady, TopicReplaced, UnknownTopic
from cutover.kafka.errors import Asked, some
from cutover.kafka.session import Deadline, Session
from cutover.model import ConfigChange, ConfigSource, ConfigValue, PartitionDescription, TopicDescription, due_changes

SOURCES = {
    Source.DYNAMIC_TOPIC_CONFIG: ConfigSource.TOPIC,
    Source.DYNAMIC_BROKER_CONFIG: ConfigSource.BROKER,
    Source.DYNAMIC_DEFAULT_BROKER_CONFIG: ConfigSource.CLUSTER,
    Source.STATIC_BROKER_CONFIG: ConfigSource.STATIC,
    Source.DEFAULT_CONFIG: ConfigSource.DEFAULT,
}


class KafkaTopics(Session):
    """Implements cutover.ports.Topics."""

    def cluster_id(self, *, timeout_seconds: float | None = None) -> str:
        """The id that tells this cluster from any other."""
        deadline = self.deadline(timeout_seconds)
        asked = Asked("describing the cluster", "cluster", "describe")
        future = self.ask(lambda admin: admin.describe_cluster(request_timeout=deadline.left_seconds), asked)
        return str(self.every_answer({"cluster": future}, asked, deadline)["cluster"].cluster_id)

    def features(self, *, timeout_seconds: float | None = None) -> dict[str, int]:
        """The finalized feature levels."""
        asked = Asked("reading the finalized features", "cluster", "describe")
        found = self.repeated(lambda second: second.describe_features(), asked, self.deadline(timeout_seconds))
        return {name: feature["finalized"][1] for name, feature in found.items() if "finalized" in feature}

    def topic_names(self, *, timeout_seconds: float | None = None) -> frozenset[str]:
        """The names of all topics."""
        deadline = self.deadline(timeout_seconds)
        asked = Asked("listing topics", "cluster", "describe")
        self._reach(deadline)  # the listing itself cannot be interrupted
        return frozenset(self.ask(lambda admin: admin.list_topics(timeout=deadline.left_seconds), asked).topics)

    def describe_topics(self, topics: Collection[str], *, timeout_seconds: float | None = None) -> dict[str, TopicDescription]:
        """Describe topics in one call."""
        return self._topics_described(topics, self.deadline(timeout_seconds))

    def _topics_described(self, topics: Collection[str], deadline: Deadline) -> dict[str, TopicDescription]:
        if not topics:
            return {}
        asked = Asked("describing topics", some(topics), "describe")
        futures = self.ask(lambda admin: admin.describe_topics(TopicCollection(list(topics)), request_timeout=deadline.left_seconds), asked)
        return {name: _description(found) for name, found in self.every_answer(futures, asked, deadline, str).items()}

    def create_topic(
        self,
        topic: str,
        partitions: int,
        *,
        replication_factor: int,
        configs: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> TopicDescription:
        """Create a topic and return once every partition can be used."""
        deadline = self.deadline(timeout_seconds)
        asked = Asked("creating a topic", topic, "create", write=True)
        wanted = NewTopic(topic, num_partitions=partitions, replication_factor=replication_factor, config=dict(configs or {}))
        left = deadline.left_seconds
        self.every_answer(
            self.ask(lambda admin: admin.create_topics([wanted], request_timeout=left, operation_timeout=left), asked), asked, deadline
        )
        try:
            return deadline.retrying()(self._usable, topic, partitions, deadline)
        except NotReady as error:
            error.traffic_now = f"The topic {topic} was created; nothing else was changed."
            raise

    def _usable(self, topic: str, partitions: int, deadline: Deadline) -> TopicDescription:
        """Leaders in the metadata are not enough: each has to answer for its end offset."""
        asked = Asked("waiting for a new topic", topic, "describe")
        try:
            found = self._topics_described([topic], deadline)[topic]
            ends = {Where(topic, each): OffsetSpec.latest() for each in range(partitions)}
            futures = self.ask(lambda admin: admin.list_offsets(ends, request_timeout=deadline.left_seconds), asked)
            self.every_answer(futures, asked, deadline)
        except UnknownTopic as error:
            raise NotReady(f"the new topic {topic} is not known to every broker yet", why=error.why) from error
        return found

    def delete_topic(self, topic: str, topic_id: str, *, timeout_seconds: float | None = None) -> None:
        """Delete the topic that has this id, and no other; returns once the name no longer leads to it."""
        deadline = self.deadline(timeout_seconds)
        self._assert_same(topic, topic_id, deadline)
        asked = Asked("deleting a topic", f"{topic} {topic_id}", "delete", write=True)
        identity = uuid.UUID(bytes=base64.urlsafe_b64decode(topic_id + "=="))
        self.second(lambda second: second.delete_topics([identity], timeout_ms=int(deadline.left_seconds * 1000)), asked, deadline)
        deadline.retrying()(self._gone, topic, topic_id, deadline)

    def _gone(self, topic: str, topic_id: str, deadline: Deadline) -> None:
        try:
            found = self._topics_described([topic], deadline)[topic]
        except UnknownTopic:
            return
        if found.topic_id == topic_id:
            raise NotReady(f"{topic} is deleted, and not every broker knows it yet", traffic="The topic was deleted.", topic=topic)

    def _assert_same(self, topic: str, topic_id: str, deadline: Deadline) -> None:
        found = self._topics_described([topic], deadline)[topic]
        if found.topic_id != topic_id:
            raise TopicReplaced(f"{topic} is another topic now", topic=topic, expected=topic_id, found=found.topic_id)

    def topic_configs(self, topics: Collection[str], *, timeout_seconds: float | None = None) -> dict[str, dict[str, ConfigValue]]:
        """The effective configs of topics, with who set them."""
        return self._configs(topics, self.deadline(timeout_seconds))

    def _configs(self, topics: Collection[str], deadline: Deadline) -> dict[str, dict[str, ConfigValue]]:
        asked = Asked("reading topic configs", some(topics), "describe_configs")
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
        futures = (
            self.ask(lambda admin: admin.describe_configs(resources, request_timeout=deadline.left_seconds), asked) if resources else {}
        )
        return {
            resource.name: {name: _config_value(entry) for name, entry in entries.items()}
            for resource, entries in self.every_answer(futures, asked, deadline, lambda each: str(each.name)).items()
        }

    def alter_configs(
        self, topic: str, topic_id: str, changes: Mapping[str, ConfigChange], *, timeout_seconds: float | None = None
    ) -> frozenset[str]:
        """Set, or unset, configs that are as expected; returns once they read back as wanted."""
        deadline = self.deadline(timeout_seconds)
        self._assert_same(topic, topic_id, deadline)
        due = due_changes(topic, self._explicit(topic, deadline), changes)
        if due:
            self._set(topic, due, deadline)
            deadline.retrying()(self._assert_configs_settled, topic, changes, deadline)
        return frozenset(due)

    def _explicit(self, topic: str, deadline: Deadline) -> dict[str, str]:
        return {name: value.value or "" for name, value in self._configs([topic], deadline)[topic].items() if value.explicit}

    def _set(self, topic: str, due: Mapping[str, str | None], deadline: Deadline) -> None:
        asked = Asked("setting topic configs", topic, "alter_configs", write=True)
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET)
            for name, value in due.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        futures = self.ask(lambda admin: admin.incremental_alter_configs([resource], request_timeout=deadline.left_seconds), asked)
        self.every_answer(futures, asked, deadline)

    def _assert_configs_settled(self, topic: str, changes: Mapping[str, ConfigChange], deadline: Deadline) -> None:
        explicit = self._explicit(topic, deadline)
        if any(explicit.get(name) != change.wanted for name, change in changes.items()):
            raise NotReady(f"the configs of {topic} were set, and do not read back yet", traffic="The configs were set.", topic=topic)


def _description(found: Described) -> TopicDescription:
    partitions = tuple(
        PartitionDescription(
            partition=each.id,
            leader=each.leader.id if each.leader is not None and each.leader.id >= 0 else None,
            replicas=tuple(node.id for node in each.replicas),
            isr=tuple(node.id for node in each.isr),
        )
        for each in found.partitions
    )
    return TopicDescription(found.name, _url_safe(str(found.topic_id)), partitions, bool(found.is_internal))


def _url_safe(topic_id: str) -> str:
    """The form of Kafka's own tools; librdkafka prints the other alphabet of base64."""
    return topic_id.replace("+", "-").replace("/", "_")


def _config_value(entry: ConfigEntry) -> ConfigValue:
    return ConfigValue(entry.value, SOURCES.get(Source(entry.source), ConfigSource.UNKNOWN))
