"""The two clients behind the control plane, their deadlines, and the only places where their errors surface.

librdkafka does the work. kafka-python answers what librdkafka cannot ask: producers, transactions, share groups, features,
deletion by topic id. It connects when it is first needed.
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import Any, Self, TypeVar

import kafka
import kafka.errors
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from kafka.net.sasl.oauth import AbstractTokenProvider
from tenacity import Retrying, retry_if_exception_type, wait_exponential
from tenacity.stop import stop_base

from cutover.connection import Connection
from cutover.errors import Ambiguous, CutoverError, InvalidConnection, NotAuthenticated, NotReady, ReadTimedOut, UnknownTopic, Unreachable
from cutover.kafka.errors import Asked, meaning, of_librdkafka, unanswered
from cutover.kafka.positions import StableAdmin

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
LOG = logging.getLogger("cutover.kafka")
for quiet in (LOG, logging.getLogger("kafka")):  # without a handler Python prints warnings of both libraries to stderr
    quiet.addHandler(logging.NullHandler())
POLL_SECONDS = 0.05
GRACE_SECONDS = 0.5
RETRIED = retry_if_exception_type(NotReady)


class Deadline:
    """A point in monotonic time by which a call has to be over."""

    def __init__(self, seconds: float) -> None:
        """Begin now."""
        self._end = time.monotonic() + seconds

    @property
    def left_seconds(self) -> float:
        """What is left, never below a millisecond: libraries read zero as for ever."""
        return max(self._end - time.monotonic(), 0.001)

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return time.monotonic() >= self._end

    def retrying(self) -> Retrying:
        """Attempts, for questions and repeatable acts alone, while the cluster says that it is not ready."""
        return Retrying(stop=_Passed(self), wait=wait_exponential(multiplier=0.02, max=0.5), retry=RETRIED, reraise=True)


class _Passed(stop_base):
    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __call__(self, retry_state: Any) -> bool:  # noqa: ANN401, ARG002
        return self._deadline.passed


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def token(self) -> str:
        return self._connection.token()[0]

    def extensions(self) -> dict[str, str]:
        return {}


class Session:
    """Holds the clients of one connection; `timeout_seconds` is the deadline of a call that names none."""

    def __init__(self, connection: Connection, *, timeout_seconds: float = 15.0) -> None:
        """Make the librdkafka client; nothing is sent yet."""
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._denied: KafkaError | None = None
        self._unreached: KafkaError | None = None
        self._second_client: Any = None
        self._second_lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="kafka-python")
        config = connection.librdkafka() | {"client.id": "cutover", "error_cb": self._on_error}
        try:
            self._admin = AdminClient(config, logger=LOG)
        except (KafkaException, ValueError, TypeError) as error:
            raise InvalidConnection("the connection cannot be used", why=str(error)) from error

    def __enter__(self) -> Self:
        """Use it in a with block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of both clients."""
        self._forget_second()
        self._threads.shutdown(wait=True)

    def deadline(self, seconds: float | None) -> Deadline:
        """The deadline of a call."""
        return Deadline(self._timeout_seconds if seconds is None else seconds)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in {KafkaError._AUTHENTICATION, KafkaError._SSL}:
            self._denied = error
        elif error.code() in {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE}:
            self._unreached = error

    # librdkafka.

    def ask(self, send: Callable[[AdminClient], Value], asked: Asked) -> Value:
        """Send something with librdkafka; what it raises at once becomes ours."""
        self._denied = self._unreached = None
        try:
            return send(self._admin)
        except KafkaException as error:
            raise self._ours(error, asked) from error

    def answers(
        self, futures: Mapping[Key, "Future[Value]"], asked: Asked, deadline: Deadline, named: Callable[[Key], str] | None = None
    ) -> tuple[dict[Key, Value], dict[Key, CutoverError]]:
        """Wait for all answers; returns those that came, and for the others the error of ours, about what `named` says of the key."""
        answered: dict[Key, Value] = {}
        failed: dict[Key, CutoverError] = {}
        for key, future in futures.items():
            try:
                answered[key] = self._result(future, asked, deadline)
            except KafkaException as error:
                failed[key] = self._ours(error, replace(asked, resource=named(key)) if named else asked)
                failed[key].__cause__ = error
        return answered, failed

    def every_answer(
        self, futures: Mapping[Key, "Future[Value]"], asked: Asked, deadline: Deadline, named: Callable[[Key], str] | None = None
    ) -> dict[Key, Value]:
        """Wait for all answers; raises the first error."""
        answered, failed = self.answers(futures, asked, deadline, named)
        for error in failed.values():
            raise error
        return answered

    def _result(self, future: "Future[Value]", asked: Asked, deadline: Deadline) -> Value:
        while not deadline.passed:
            try:
                return future.result(min(POLL_SECONDS, deadline.left_seconds))
            except FutureTimeoutError:
                self._admin.poll(0)  # serves the error callback: wrong credentials show there, and nowhere else
                if self._denied is not None:
                    raise NotAuthenticated(f"{asked.what}: the cluster does not accept the credentials", why=self._denied.str()) from None
        try:
            return future.result(GRACE_SECONDS)  # librdkafka has the same deadline, and says better what became of it
        except FutureTimeoutError:
            raise unanswered("the deadline passed", asked, reached=self._unreached is None) from None

    def _ours(self, error: KafkaException, asked: Asked) -> CutoverError:
        self._admin.poll(0)
        if self._denied is not None:
            return NotAuthenticated(f"{asked.what}: the cluster does not accept the credentials", why=self._denied.str())
        ours = of_librdkafka(error, asked)
        if isinstance(ours, ReadTimedOut) and self._unreached is not None:
            return unanswered(ours.why, asked, reached=False)
        return ours

    # kafka-python.

    def second(self, call: Callable[[Any], Value], asked: Asked, deadline: Deadline) -> Value:
        """Call kafka-python within the deadline; a client whose picture of the cluster is stale is thrown away."""
        if self._second_client is None:
            self._reach(deadline)
        future = self._threads.submit(lambda: call(self._second(deadline)))
        try:
            return future.result(deadline.left_seconds)
        except FutureTimeoutError:
            connected = self._second_client is not None
            self._forget_second()
            raise unanswered("the deadline passed", asked, reached=connected, sent=connected) from None
        except kafka.errors.KafkaError as error:
            ours = _of_kafka_python(error, asked)
            if isinstance(ours, (Unreachable, Ambiguous, UnknownTopic)):
                self._forget_second()
            raise ours from error

    def _reach(self, deadline: Deadline) -> None:
        """Let librdkafka connect first: it names what is wrong, kafka-python leaks a socket for each port where nobody listens."""
        asked = Asked("reaching the cluster", "cluster", "describe")
        future = self.ask(lambda admin: admin.describe_cluster(request_timeout=deadline.left_seconds), asked)
        self.every_answer({"cluster": future}, asked, deadline)

    def repeated(self, call: Callable[[Any], Value], asked: Asked, deadline: Deadline) -> Value:
        """The same for a question: asked again while the cluster is not ready."""
        answer: Value = deadline.retrying()(self.second, call, asked, deadline)
        return answer

    def _second(self, deadline: Deadline) -> Any:  # noqa: ANN401
        with self._second_lock:
            if self._second_client is None:
                config = self._connection.kafka_python()
                if config.get("sasl_mechanism") == "OAUTHBEARER":
                    config["sasl_oauth_token_provider"] = _Tokens(self._connection)
                self._second_client = StableAdmin(
                    **config,
                    client_id="cutover",
                    request_timeout_ms=int(self._timeout_seconds * 1000),
                    bootstrap_timeout_ms=int(deadline.left_seconds * 1000),
                )
            return self._second_client

    def _forget_second(self) -> None:
        with self._second_lock:
            client, self._second_client = self._second_client, None
        if client is not None:
            client.close()


def _of_kafka_python(error: kafka.errors.KafkaError, asked: Asked) -> CutoverError:
    if isinstance(error, kafka.errors.SaslAuthenticationFailedError):
        return NotAuthenticated(f"{asked.what}: the cluster does not accept the credentials", why=str(error))
    if isinstance(error, kafka.errors.NodeNotReadyError):  # it was not sent
        return NotReady(f"{asked.what}: the cluster cannot answer yet ({asked.resource})", why=str(error))
    if isinstance(error, (kafka.errors.KafkaTimeoutError, kafka.errors.KafkaConnectionError)):
        return unanswered(str(error), asked, reached=isinstance(error, kafka.errors.RequestTimedOutError))
    return meaning(getattr(error, "errno", KafkaError._FAIL), str(error), asked)
