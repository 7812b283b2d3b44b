"""A confluent_kafka.Consumer that reads its topics on the side where the control log has its group.

It acts only inside poll() and consume(): what was handed out by the call before counts as worked on by then. It stores offsets
itself, when a record is handed out, so that a record which is held back is never committed.
"""

import logging
import socket
import time
import zlib
from collections.abc import Callable
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from cutover import __version__
from cutover.client.following import Following, Where
from cutover.client.log import LOG
from cutover.client.placing import Placing
from cutover.client.settings import split, truth
from cutover.client.stopping import Stopping
from cutover.client.watch import View, Watch, leave_at_exit
from cutover.protocol import Join, Role

SLICE_SECONDS = 0.05
REBALANCE_SECONDS = 3.0
Rebalanced = Callable[[confluent_kafka.Consumer, list[TopicPartition]], None]


class Consumer(confluent_kafka.Consumer):
    """Drop-in for confluent_kafka.Consumer. It follows what it subscribes to by name; docs/client.md has the settings.

    poll() and consume() hand nothing out before the instance has joined the control log, while the group is stopped, and when
    the log cannot be followed; they raise ControlUnavailable after `cutover.start.timeout` and `cutover.hold.timeout`.
    """

    def __init__(self, *arguments: dict[str, Any], **named: Any) -> None:  # noqa: ANN401 - the plain client's own signature
        settings = split(arguments, named)
        plain = dict(settings.plain)
        commits = truth(plain.get("enable.auto.commit", True))
        self._stores = truth(plain.pop("enable.auto.offset.store", True))
        self._wants_ends = truth(plain.get("enable.partition.eof", False))
        super().__init__(plain | {"enable.auto.offset.store": False, "enable.partition.eof": True})
        self._settings = settings
        self._watch = Watch(settings, self._heard, _join(settings.client_id, str(plain.get("group.id", ""))))
        self._following = Following(settings, str(plain.get("group.id", "")))
        on_stop = commits if settings.commit_on_stop is None else settings.commit_on_stop
        self._stopping = Stopping(self._watch, super().commit if on_stop else None, super().committed)
        self._placing = Placing(super().committed, super().get_watermark_offsets, settings.hold_seconds)
        self._seen: View | None = None
        self._unsettled = True
        self._subscribed: list[str] = []
        self._callbacks: tuple[Rebalanced | None, Rebalanced | None, Rebalanced | None] = (None, None, None)
        self._rebalancing = False
        self._paused_by_user: set[Where] = set()
        self._back: dict[Where, int] = {}
        self._revoked_at = float("-inf")
        self._closed = False
        leave_at_exit(self)

    def subscribe(
        self,
        topics: list[str],
        on_assign: Rebalanced | None = None,
        on_revoke: Rebalanced | None = None,
        on_lost: Rebalanced | None = None,
    ) -> None:
        """As the plain client's; takes effect in poll(), on the side where the control log has the group."""
        if not isinstance(topics, list) or not all(isinstance(each, str) for each in topics):
            raise TypeError("expected list of unicode strings")
        self._callbacks = (on_assign, on_revoke, on_lost)
        self._following.want(topics)
        self._subscribed = []
        self._begin([each for each in topics if not each.startswith("^")])

    def _begin(self, topics: list[str]) -> None:
        self._unsettled = True
        self._watch.follow(*topics)
        if not self._watch.started:
            self._watch.start()

    def unsubscribe(self) -> None:
        """As the plain client's."""
        self._following.want([])
        self._subscribed = []
        super().unsubscribe()

    def assign(self, partitions: list[TopicPartition]) -> None:
        """As the plain client's. Partitions that are assigned by hand are not followed: the group is then not moved."""
        if not self._rebalancing:
            self._stopping.by_hand = True
            self._begin([each.topic for each in partitions])
        super().assign(partitions)

    def poll(self, timeout: float = -1) -> Message | None:
        """As the plain client's; hands nothing out while the group is stopped."""
        deadline = _deadline(timeout)
        while True:
            self._turn()
            message = super().poll(_slice(deadline))
            if message is not None and self._may_have(message):
                self._hand_out([message])
                return message
            if time.monotonic() >= deadline:
                return None

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """As the plain client's; hands nothing out while the group is stopped."""
        if num_messages <= 0:
            return super().consume(num_messages, timeout)
        deadline = _deadline(timeout)
        found: list[Message] = []
        while True:
            if not found:
                self._turn()
            taken = [each for each in super().consume(num_messages - len(found), _slice(deadline)) if self._may_have(each)]
            self._hand_out(taken)  # at once: a rebalance in the next slice commits what is stored by then
            found += taken
            heard_more = bool(found) and self._watch.view is not self._seen
            if len(found) == num_messages or heard_more or time.monotonic() >= deadline:
                return found

    def pause(self, partitions: list[TopicPartition]) -> None:
        """As the plain client's."""
        self._paused_by_user |= {(each.topic, each.partition) for each in partitions}
        super().pause(partitions)

    def resume(self, partitions: list[TopicPartition]) -> None:
        """As the plain client's; what is held back for a move stays so until the group is let go on."""
        self._paused_by_user -= {(each.topic, each.partition) for each in partitions}
        self._unsettled = True
        super().resume([each for each in partitions if not self._is_held((each.topic, each.partition))])

    def close(self) -> None:
        """As the plain client's, then LEAVE."""
        super().close()
        self._closed = True
        self._watch.leave()

    def close_at_exit(self) -> None:
        """Say LEAVE when the interpreter ends."""
        if not self._closed:
            self._closed = True
            self._watch.leave()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _heard(self, view: View) -> None:
        """The watch has the view; poll() looks at it."""

    def _turn(self) -> None:
        """Do what the control log asks for. Nothing that was not handed out before is in the application's hands now."""
        view = self._watch.view
        if view is self._seen and not self._unsettled:
            return
        self._unsettled = False
        self._seen = view
        if not self._stopping.by_hand:
            self._subscribe_as(self._following.resolved(view) or [])
        self._stopping.look(view, self._following.stops(view), self._following.left(view))
        self._placing.look(self._following.moved(view))
        self._align()
        settled = self._is_steady() and self._stopping.answer(super().assignment(), self._positions_to_commit())
        settled = self._placing.settle(self._back.__setitem__) and settled
        if self._back:
            self._align()
        self._unsettled = self._unsettled or not settled or self._following.waits(view)

    def _subscribe_as(self, topics: list[str]) -> None:
        if topics and topics != self._subscribed:
            LOG.info("%s reads %s", self._settings.instance, ", ".join(topics))
            self._subscribed = topics
            super().subscribe(topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def _is_steady(self) -> bool:
        """Whether no rebalance is under way: what was taken away for it may come back, and would be missing in an acknowledgement."""
        return time.monotonic() - self._revoked_at > REBALANCE_SECONDS

    def _positions_to_commit(self) -> list[TopicPartition] | None:
        """What was handed out, if the library stores offsets; else what the application has stored."""
        return self._stopping.positions() if self._stores else None

    def _is_held(self, where: Where) -> bool:
        return self._stopping.holds(where) or self._placing.holds(where)

    def _align(self) -> None:
        """Pause what is not to be handed out now, let the rest go on from where it was."""
        held = {(each.topic, each.partition) for each in super().assignment()}
        due = {where for where in held if self._is_held(where)}
        free = (self._stopping.paused & held) - due
        back = {where: offset for where, offset in self._back.items() if where in held - due}
        if due:
            super().pause([TopicPartition(*where) for where in due])
        if open_again := free - self._paused_by_user:
            super().resume([TopicPartition(*where) for where in open_again])
        self._stopping.paused = due
        self._back = {where: offset for where, offset in self._back.items() if where in due}
        for where, offset in back.items():
            self._go_back(where, offset)

    def _go_back(self, where: Where, offset: int) -> None:
        """Read again from here, after resuming: that would go to where the client stood."""
        try:
            super().seek(TopicPartition(*where, offset))
        except KafkaException as error:  # it was assigned a moment ago and has not begun to fetch
            LOG.debug("going back waits: %s", error)
            super().pause([TopicPartition(*where)])
            self._stopping.paused.add(where)
            self._back[where] = offset
            self._unsettled = True

    def _may_have(self, message: Message) -> bool:
        """Whether the application gets this now; what it does not get is read again later."""
        error = message.error()
        where = (message.topic() or "", -1 if message.partition() is None else int(message.partition() or 0))
        if error is not None:
            return self._is_news(error, where, message.offset())
        offset = int(message.offset() or 0)
        if self._placing.holds(where):
            return False
        if where not in self._back and self._stopping.admits(where, offset):
            return True
        self._back[where] = min(offset, self._back.get(where, offset))
        self._unsettled = True
        return False

    def _is_news(self, error: KafkaError, where: Where, offset: int | None) -> bool:
        if error.code() != KafkaError._PARTITION_EOF:
            return True
        if offset is not None and self._stopping.ended(where, offset):
            self._unsettled = True
        return self._wants_ends and not self._is_held(where)

    def _hand_out(self, messages: list[Message]) -> None:
        last: dict[Where, int] = {}
        for each in messages:
            if each.error() is None:
                last[(each.topic() or "", each.partition() or 0)] = int(each.offset() or 0) + 1
        self._stopping.handed_out(last)
        if self._stores and last:
            self._store([TopicPartition(*where, offset) for where, offset in last.items()])
        if LOG.isEnabledFor(logging.DEBUG):
            _trace(messages)

    def _store(self, offsets: list[TopicPartition]) -> None:
        try:
            super().store_offsets(offsets=offsets)
        except KafkaException as error:  # the partition was taken away between being read and being handed out
            LOG.debug("offsets were not stored: %s", error)

    def _on_assign(self, consumer: confluent_kafka.Consumer, partitions: list[TopicPartition]) -> None:
        self._revoked_at = float("-inf")
        self._placing.assigned(partitions)
        self._rebalanced(self._callbacks[0], consumer, partitions)

    def _on_revoke(self, consumer: confluent_kafka.Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalanced(self._callbacks[1], consumer, partitions)
        self._forget(partitions)

    def _on_lost(self, consumer: confluent_kafka.Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalanced(self._callbacks[2] or self._callbacks[1], consumer, partitions)
        self._forget(partitions)

    def _rebalanced(self, theirs: Rebalanced | None, consumer: confluent_kafka.Consumer, partitions: list[TopicPartition]) -> None:
        self._unsettled = True
        self._rebalancing = True
        try:
            if theirs is not None:
                theirs(consumer, partitions)
        finally:
            self._rebalancing = False

    def _forget(self, partitions: list[TopicPartition]) -> None:
        gone = {(each.topic, each.partition) for each in partitions}
        self._revoked_at = time.monotonic()
        self._back = {where: offset for where, offset in self._back.items() if where not in gone}
        self._paused_by_user -= gone
        self._stopping.forget(gone)
        self._placing.forget(gone)


def _deadline(timeout: float | None) -> float:
    return float("inf") if timeout is None or timeout < 0 else time.monotonic() + timeout


def _slice(deadline: float) -> float:
    return max(0.0, min(SLICE_SECONDS, deadline - time.monotonic()))


def _trace(messages: list[Message]) -> None:
    for each in messages:
        if each.error() is None:
            LOG.debug("%s[%s]@%s handed out, key %08x", each.topic(), each.partition(), each.offset(), zlib.crc32(each.key() or b""))


def _join(client_id: str, group: str) -> Join:
    return Join(
        instance="",
        session="",
        topic="",
        role=Role.CONSUMER,
        group=group,
        client_id=client_id,
        host=socket.gethostname(),
        library=f"cutover-python/{__version__}",
    )
