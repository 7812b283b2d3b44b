"""What a broker is told: the server.properties of one node of an embedded cluster, as a pure function of what was asked for.

Every listener is bound to 127.0.0.1. Clients use CLIENT; brokers talk over CLIENT too, or over INTERNAL (mutual TLS) in a secured cluster.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cutover.kafka.embedded.tls import BROKER, Authority

LOOPBACK = "127.0.0.1"
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER")

_PLAIN_WORD = re.compile(r"[\w.-]+", re.ASCII)

Protocol = Literal["SASL_SSL", "SASL_PLAINTEXT", "SSL"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER"]

_SPEED = {
    # Ready sooner and smaller than Kafka's defaults, and nothing else changed about how it works.
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "10",
    "transaction.state.log.num.partitions": "10",
    "share.coordinator.state.topic.num.partitions": "3",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    "auto.create.topics.enable": "false",
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "1000",
}


@dataclass(frozen=True, slots=True)
class Security:
    """A secured cluster: TLS and SASL for clients, ACLs by StandardAuthorizer, `admin` its super user.

    All four SASL mechanisms are on, so that one cluster serves every test. `users` maps names to passwords; `admin` gets one when absent.
    With `client_certificates` a client must show a certificate of the cluster's authority as well (mutual TLS).
    """

    protocol: Protocol = "SASL_SSL"
    users: Mapping[str, str] = field(default_factory=dict)
    client_certificates: bool = False
    admin: str = "admin"

    def __post_init__(self) -> None:
        if self.admin not in self.users:
            object.__setattr__(self, "users", {**self.users, self.admin: secrets.token_urlsafe(12)})
        if odd := [word for pair in self.users.items() for word in pair if not _PLAIN_WORD.fullmatch(word)]:
            raise ValueError(f"users and passwords of an embedded Kafka are letters, digits, dots, dashes and underscores, not {odd[0]!r}")

    @property
    def tls(self) -> bool:
        """Whether clients speak TLS."""
        return self.protocol.endswith("SSL")

    @property
    def sasl(self) -> bool:
        """Whether clients log in."""
        return self.protocol.startswith("SASL")


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """What was asked for. `listeners` maps a name to broker id and advertised port."""

    brokers: int = 1
    heap_mb: int = 512
    security: Security | None = None
    listeners: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    transaction_version: int = 2


@dataclass(frozen=True, slots=True)
class Ports:
    """Where one node listens: by listener name, CLIENT and CONTROLLER always among them."""

    by_listener: Mapping[str, int]

    def __getitem__(self, listener: str) -> int:
        return self.by_listener[listener]


def listener_names(spec: ClusterSpec) -> list[str]:
    """Every listener of a node, in the order in which ports are chosen."""
    return ["CLIENT", "CONTROLLER", *(["INTERNAL"] if spec.security else []), *spec.listeners]


def server_properties(
    spec: ClusterSpec, node: int, ports: Mapping[int, Ports], folder: Path, authority: Authority | None
) -> dict[str, str]:
    """The configuration of node `node`; `folder` is where it keeps its files. What `spec.config` says wins."""
    clustered = spec.brokers > 1
    copies, insync = ("3", "2") if clustered else ("1", "1")
    result = {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "log.dirs": str(folder / "log"),
        "controller.quorum.voters": ",".join(f"{n}@{LOOPBACK}:{p['CONTROLLER']}" for n, p in ports.items()),
        "default.replication.factor": copies,
        "min.insync.replicas": insync,
        **{f"{topic}.replication.factor": copies for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")},
        **{f"{topic}.min.isr": insync for topic in ("transaction.state.log", "share.coordinator.state.topic")},
        **_SPEED,
        **_listeners(spec, node, ports[node]),
    }
    if spec.security and authority:
        result |= _security(spec.security, spec, authority)
    return result | dict(spec.config)


def _listeners(spec: ClusterSpec, node: int, ports: Ports) -> dict[str, str]:
    names = listener_names(spec)
    advertised = {name: spec.listeners[name][node] if name in spec.listeners else ports[name] for name in names if name != "CONTROLLER"}
    inside = "SSL" if spec.security else "PLAINTEXT"
    outside = spec.security.protocol if spec.security else "PLAINTEXT"
    protocols = {name: inside if name in ("CONTROLLER", "INTERNAL") else outside for name in names}
    return {
        "listeners": ",".join(f"{name}://{LOOPBACK}:{ports[name]}" for name in names),
        "advertised.listeners": ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in advertised.items()),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INTERNAL" if spec.security else "CLIENT",
    }


def _security(security: Security, spec: ClusterSpec, authority: Authority) -> dict[str, str]:
    result = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{security.admin};User:CN={BROKER};User:CN={security.admin}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.broker.store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca),
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        "listener.name.internal.ssl.client.auth": "required",
        "listener.name.controller.ssl.client.auth": "required",
    }
    for listener in ("CLIENT", *spec.listeners):
        prefix = f"listener.name.{listener.lower()}."
        if security.client_certificates or not security.sasl:
            result[prefix + "ssl.client.auth"] = "required"
        if security.sasl:
            result |= _logins(prefix, security)
    return result


def _logins(prefix: str, security: Security) -> dict[str, str]:
    """JAAS per mechanism. SCRAM's users went into the metadata log when the storage was formatted; OAUTHBEARER's tokens are unsigned."""
    package = "org.apache.kafka.common.security"
    plain = " ".join(f'user_{name}="{password}"' for name, password in security.users.items())
    scram = f"{package}.scram.ScramLoginModule required;"
    bearer = f"{package}.oauthbearer.OAuthBearerLoginModule required"
    return {
        f"{prefix}scram-sha-256.sasl.jaas.config": scram,
        f"{prefix}scram-sha-512.sasl.jaas.config": scram,
        f"{prefix}plain.sasl.jaas.config": f"{package}.plain.PlainLoginModule required {plain};",
        f"{prefix}oauthbearer.sasl.jaas.config": f'{bearer} unsecuredLoginStringClaim_sub="broker";',
    }


def client_properties(security: Security, authority: Authority, user: str, mechanism: Mechanism) -> dict[str, str]:
    """librdkafka properties with which `user` connects."""
    result: dict[str, str] = {"security.protocol": security.protocol}
    if security.tls:
        result["ssl.ca.location"] = str(authority.ca)
    if security.client_certificates or not security.sasl:
        files = authority.issue(user)
        result |= {"ssl.certificate.location": str(files.certificate), "ssl.key.location": str(files.key)}
    if security.sasl:
        result["sasl.mechanisms"] = mechanism
        result |= _credentials(security, user, mechanism)
    return result


def _credentials(security: Security, user: str, mechanism: Mechanism) -> dict[str, str]:
    if mechanism == "OAUTHBEARER":
        return {"enable.sasl.oauthbearer.unsecure.jwt": "true", "sasl.oauthbearer.config": f"principal={user}"}
    return {"sasl.username": user, "sasl.password": security.users.get(user, "")}


def as_text(properties: Mapping[str, str]) -> str:
    """In the format of java.util.Properties."""
    lines = (f"{key}={value}".replace("\\", "\\\\") for key, value in properties.items())
    return "\n".join(lines) + "\n"
