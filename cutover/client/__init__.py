"""What applications import instead of confluent_kafka's Producer and Consumer: they follow a pair from one topic to the other.

docs/client.md says how to use them, docs/protocol.md what they keep to. Nothing here knows the driver.
"""

from cutover.client.consumer import Consumer
from cutover.client.errors import (
    ClientError,
    ControlUnavailable,
    Held,
    InstanceReplaced,
    NotSupported,
    PositionMissing,
    SettingsWrong,
)
from cutover.client.producer import Producer

__all__ = [
    "ClientError",
    "Consumer",
    "ControlUnavailable",
    "Held",
    "InstanceReplaced",
    "NotSupported",
    "PositionMissing",
    "Producer",
    "SettingsWrong",
]
