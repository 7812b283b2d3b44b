"""The `cutover.` keys of a client's configuration, and what is left for librdkafka."""

import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cutover.client.errors import SettingsWrong
from cutover.protocol import CONTROL_TOPIC

PREFIX = "cutover."
KEYS = frozenset(
    PREFIX + each for each in ("topic", "control.topic", "instance", "hold.timeout", "start.timeout", "commit.on.stop", "identity.seconds")
)
_CONNECTION = re.compile(
    r"(bootstrap\.servers|metadata\.broker\.list|security\.protocol|sasl\..+|ssl\..+|enable\.ssl\..+|enable\.sasl\..+|https\..+|oauth_cb"
    r"|broker\.address\..+|client\.dns\.lookup|socket\..+|reconnect\..+|api\.version\..+|client\.rack|resolve_cb|connect_cb)"
)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client was configured with. `plain` is what librdkafka gets, `connection` how to reach the cluster."""

    topics: tuple[str, ...]
    control_topic: str
    instance: str
    hold_seconds: float
    start_seconds: float
    identity_seconds: float
    commit_on_stop: bool | None
    plain: Mapping[str, Any]
    connection: Mapping[str, Any]

    @property
    def partitioner(self) -> str:
        """How librdkafka places keys for it."""
        return str(self.plain.get("partitioner", self.plain.get("default.topic.config", {}).get("partitioner", "consistent_random")))

    @property
    def client_id(self) -> str:
        """The application's name for itself."""
        return str(self.plain.get("client.id", "rdkafka"))


def split(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Settings:
    """Take a constructor's arguments (one dict, and keywords that override it) apart; raises SettingsWrong."""
    if len(arguments) > 1 or (arguments and not isinstance(arguments[0], dict)):
        raise TypeError("expected configuration dict")
    given = {**(arguments[0] if arguments else {}), **named}
    unknown = sorted(key for key in given if key.startswith(PREFIX) and key not in KEYS)
    if unknown:
        raise SettingsWrong(f"there is no setting {unknown[0]}", why=f"The settings are {', '.join(sorted(KEYS))}.", settings=unknown)
    plain = {key: value for key, value in given.items() if not key.startswith(PREFIX)}
    return Settings(
        topics=_topics(given.get("cutover.topic", "")),
        control_topic=_name(given, "cutover.control.topic", CONTROL_TOPIC),
        instance=_name(given, "cutover.instance", _own_name()),
        hold_seconds=_seconds(given, "cutover.hold.timeout", 30.0),
        start_seconds=_seconds(given, "cutover.start.timeout", 30.0),
        identity_seconds=_seconds(given, "cutover.identity.seconds", 10.0),
        commit_on_stop=_flag(given, "cutover.commit.on.stop"),
        plain=plain,
        connection={key: value for key, value in plain.items() if _CONNECTION.fullmatch(key)},
    )


def truth(value: object) -> bool:
    """A boolean as librdkafka takes it: True, "true", "1", "t"."""
    return str(value).strip().lower() in {"true", "1", "t"}


def _topics(value: str) -> tuple[str, ...]:
    if not isinstance(value, str):
        raise SettingsWrong("cutover.topic is not a string", why="It is a topic, or several with commas between them.")
    return tuple(dict.fromkeys(name for each in value.split(",") if (name := each.strip())))


def _name(given: Mapping[str, Any], key: str, default: str) -> str:
    value = given.get(key, default)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise SettingsWrong(f"{key} is not a name", why="Letters, digits, dots, underscores and hyphens, at most 200.", value=str(value))
    return value


def _seconds(given: Mapping[str, Any], key: str, default: float) -> float:
    try:
        value = float(given.get(key, default))
    except (TypeError, ValueError) as error:
        raise SettingsWrong(f"{key} is not a number of seconds", value=str(given[key])) from error
    if not value >= 0:
        raise SettingsWrong(f"{key} is below zero", value=value)
    return value


def _flag(given: Mapping[str, Any], key: str) -> bool | None:
    return truth(given[key]) if key in given else None


def _own_name() -> str:
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:120] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
