"""Who writes and which transactions are open: questions that only kafka-python can ask (KIP-664)."""

import re
from collections.abc import Collection
from typing import Any

from kafka import TopicPartition as Where

from cutover.kafka.errors import Asked, some
from cutover.kafka.session import Deadline, Session
from cutover.model import ProducerState, TopicPartition, TransactionDescription, TransactionListing, TransactionState

POSITIONS_TOPIC = "__consumer_offsets"
"""Where a transaction keeps group positions; never a partition of anybody's records."""


OPEN = frozenset(
    {TransactionState.ONGOING, TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT, TransactionState.PREPARE_EPOCH_FENCE}
)


class KafkaTransactions(Session):
    """Implements cutover.ports.Transactions."""

    def producers(
        self, partitions: Collection[TopicPartition], *, timeout_seconds: float | None = None
    ) -> dict[TopicPartition, tuple[ProducerState, ...]]:
        """The producers that each partition's leader remembers, one request per leader."""
        asked = Asked("describing producers", some({where.topic for where in partitions}), "read")
        wanted = [Where(*where) for where in partitions]
        found = self.repeated(lambda second: second.describe_producers(wanted), asked, self.deadline(timeout_seconds))
        return {
            TopicPartition(where.topic, where.partition): tuple(_producer(each) for each in state.active_producers)
            for where, state in found.items()
        }

    def transactions(self, *, timeout_seconds: float | None = None) -> dict[str, TransactionListing]:
        """Every transactional id that the coordinators know."""
        return self._transactions_listed(self.deadline(timeout_seconds))

    def _transactions_listed(self, deadline: Deadline) -> dict[str, TransactionListing]:
        asked = Asked("listing transactions", "cluster", "describe")
        found = self.repeated(lambda second: second.list_transactions(), asked, deadline)
        return {
            each.transactional_id: TransactionListing(each.transactional_id, each.producer_id, _state(each.state))
            for listed in found.values()
            for each in listed
        }

    def describe_transactions(
        self, transactional_ids: Collection[str], *, timeout_seconds: float | None = None
    ) -> dict[str, TransactionDescription]:
        """Describe transactional ids; one that expires between listing and asking is listed again."""
        deadline = self.deadline(timeout_seconds)
        return deadline.retrying()(self._transactions_described, frozenset(transactional_ids), deadline)

    def _transactions_described(self, transactional_ids: frozenset[str], deadline: Deadline) -> dict[str, TransactionDescription]:
        known = sorted(transactional_ids & self._transactions_listed(deadline).keys())
        asked = Asked("describing transactions", some(known), "describe")
        found = self.second(lambda second: second.describe_transactions(known), asked, deadline)
        return {name: _description(name, each) for name, each in found.items()}


def _state(said: Any) -> TransactionState:  # noqa: ANN401
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", said.value).lower()
    return TransactionState(word) if word in set(TransactionState) else TransactionState.UNKNOWN


def _producer(found: Any) -> ProducerState:  # noqa: ANN401
    start = found.current_transaction_start_offset
    return ProducerState(
        producer_id=found.producer_id,
        producer_epoch=found.producer_epoch,
        last_sequence=found.last_sequence,
        last_timestamp_ms=found.last_timestamp,
        coordinator_epoch=found.coordinator_epoch,
        transaction_start_offset=start if start >= 0 else None,
    )


def _description(name: str, found: Any) -> TransactionDescription:  # noqa: ANN401
    state = _state(found.state)
    return TransactionDescription(
        transactional_id=name,
        producer_id=found.producer_id,
        producer_epoch=found.producer_epoch,
        state=state,
        timeout_ms=found.transaction_timeout_ms,
        started_at_ms=found.transaction_start_time_ms if state in OPEN else None,  # the broker keeps the last start
        partitions=frozenset(
            TopicPartition(each.topic, each.partition) for each in found.topic_partitions if each.topic != POSITIONS_TOPIC
        ),
    )
