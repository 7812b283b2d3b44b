"""Access rules, in the words of Kafka's own tools.

They are read with kafka-python: librdkafka answers `no rules` where the cluster says that it has no authorizer.
"""

from collections.abc import Collection
from typing import Any

from confluent_kafka.admin import AclBinding, AclBindingFilter, AclOperation, AclPermissionType, ResourcePatternType, ResourceType
from kafka.admin import ACLFilter, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePatternFilter
from kafka.admin import ResourceType as KafkaPythonResource

from cutover.errors import NotReady, RejectedByBroker
from cutover.kafka.errors import Asked
from cutover.kafka.session import Deadline, Session
from cutover.model import Acl, Permission

EVERYTHING = ACLFilter(
    None, None, ACLOperation.ANY, ACLPermissionType.ANY, ResourcePatternFilter(KafkaPythonResource.ANY, None, ACLResourcePatternType.ANY)
)
CLUSTER = "cluster"
"""Kafka's word for what librdkafka calls a broker resource."""


class KafkaAcls(Session):
    """Implements cutover.ports.Acls; a change returns once the broker that answers shows it (another may lag)."""

    def acls(self, *, timeout_seconds: float | None = None) -> frozenset[Acl]:
        """Every access rule of the cluster."""
        return self._acls(self.deadline(timeout_seconds))

    def _acls(self, deadline: Deadline) -> frozenset[Acl]:
        asked = Asked("reading access rules", CLUSTER, "describe")
        found, _ = self.repeated(lambda second: second.describe_acls(EVERYTHING), asked, deadline)
        return frozenset(_acl_of_kafka_python(each) for each in found)

    def create_acls(self, acls: Collection[Acl], *, timeout_seconds: float | None = None) -> None:
        """Add rules."""
        deadline = self.deadline(timeout_seconds)
        asked = Asked("adding access rules", CLUSTER, "alter", write=True)
        bindings = [AclBinding(*_words(each)) for each in set(acls)]
        if bindings:
            futures = self.ask(lambda admin: admin.create_acls(bindings, request_timeout=deadline.left_seconds), asked)
            self.every_answer(futures, asked, deadline)
            deadline.retrying()(self._assert_acls_settled, frozenset(acls), deadline, there=True)

    def delete_acls(self, acls: Collection[Acl], *, timeout_seconds: float | None = None) -> frozenset[Acl]:
        """Remove exactly these rules."""
        deadline = self.deadline(timeout_seconds)
        asked = Asked("removing access rules", CLUSTER, "alter", write=True)
        filters = [AclBindingFilter(*_words(each)) for each in set(acls)]
        if not filters:
            return frozenset()
        futures = self.ask(lambda admin: admin.delete_acls(filters, request_timeout=deadline.left_seconds), asked)
        gone = frozenset(_acl(each) for found in self.every_answer(futures, asked, deadline).values() for each in found)
        deadline.retrying()(self._assert_acls_settled, gone, deadline, there=False)
        return gone

    def _assert_acls_settled(self, acls: frozenset[Acl], deadline: Deadline, *, there: bool) -> None:
        found = self._acls(deadline)
        if not (acls <= found if there else acls.isdisjoint(found)):
            raise NotReady("access rules were changed, and do not read back yet", traffic="The access rules were changed.")


def _words(acl: Acl) -> tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]:
    try:
        return (
            ResourceType.BROKER if acl.resource_type == CLUSTER else ResourceType[acl.resource_type.upper()],
            acl.resource,
            ResourcePatternType[acl.pattern.upper()],
            acl.principal,
            acl.host,
            AclOperation[acl.operation.upper()],
            AclPermissionType[acl.permission.upper()],
        )
    except KeyError as error:
        raise RejectedByBroker(f"{error} is no word of an access rule", resource=acl.resource, operation=acl.operation) from error


def _acl(found: AclBinding) -> Acl:
    kind = ResourceType(found.restype)
    return Acl(
        principal=found.principal,
        operation=AclOperation(found.operation).name.lower(),
        resource_type=CLUSTER if kind is ResourceType.BROKER else kind.name.lower(),
        resource=found.name,
        permission=Permission(AclPermissionType(found.permission_type).name.lower()),
        pattern=ResourcePatternType(found.resource_pattern_type).name.lower(),
        host=found.host,
    )


def _acl_of_kafka_python(found: Any) -> Acl:  # noqa: ANN401
    return Acl(
        principal=found.principal,
        operation=found.operation.name.lower(),
        resource_type=found.resource_pattern.resource_type.name.lower(),
        resource=found.resource_pattern.resource_name,
        permission=Permission(found.permission_type.name.lower()),
        pattern=found.resource_pattern.pattern_type.name.lower(),
        host=found.host,
    )
