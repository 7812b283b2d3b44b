"""What a call of the client library can raise besides what confluent_kafka raises itself.

Each is a KafkaException too, so that an application that was written for confluent_kafka meets nothing it does not catch;
`args[0]` is the KafkaError and says whether the same call may be made again. The ids stand in cutover.errors.
"""

from typing import Any, ClassVar

from confluent_kafka import KafkaError, KafkaException

from cutover import errors


class ClientError(errors.ClientError, KafkaException):
    """A call that the library did not carry out; nothing of it was written or handed out."""

    code: ClassVar[int] = KafkaError._STATE
    retriable: ClassVar[bool] = False

    def __init__(self, what: str, **told: Any) -> None:  # noqa: ANN401
        super().__init__(what, **told)
        self.args = (KafkaError(self.code, what, False, self.retriable),)

    def __str__(self) -> str:
        """What happened, why, and what to do next."""
        return " ".join(part for part in (f"{self.id}: {self.what}.", self.why, self.next) if part)


class SettingsWrong(errors.ClientSettingsWrong, ClientError):
    """A `cutover.` setting is missing, unknown or not of its kind."""

    code = KafkaError._INVALID_ARG


class Held(errors.ProducersHeld, ClientError):
    """Producers are held for a switch, and it lasts longer than this caller waits."""

    code = KafkaError._TIMED_OUT
    retriable = True


class ControlUnavailable(errors.ControlUnavailable, ClientError):
    """The control log cannot be followed, so nobody can say which topic is meant."""

    code = KafkaError._TIMED_OUT
    retriable = True


class InstanceReplaced(errors.InstanceReplaced, ClientError):
    """Another process has joined under the name of this one."""

    code = KafkaError._FENCED


class NotSupported(errors.NotSupportedHere, ClientError):
    """The pair is in a mode, or the call has an argument, that this client cannot follow."""

    code = KafkaError._UNSUPPORTED_FEATURE


class PositionMissing(errors.PositionMissing, ClientError):
    """A partition of the topic that the group was moved to has no usable position."""

    code = KafkaError._NO_OFFSET
