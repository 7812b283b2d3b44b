"""A cluster with TLS, SASL and an authorizer, reached through profiles such as a user would write."""

import base64
import json
import time
from dataclasses import dataclass
from pathlib import Path

from cutover.connection import Connection
from cutover.kafka.embedded import EmbeddedKafka
from cutover.kafka.embedded.properties import Mechanism


@dataclass
class Secured:
    """The cluster, and connections to it with every secret in a file."""

    kafka: EmbeddedKafka

    def connection(
        self, folder: Path, user: str = "admin", mechanism: Mechanism = "SCRAM-SHA-512", password: str | None = None
    ) -> Connection:
        said = self.kafka.connection(user, mechanism)
        if mechanism == "OAUTHBEARER":
            secret = {"sasl.oauthbearer.token": token(user)}
        else:
            secret = {"sasl.password": said["sasl.password"] if password is None else password}
        lines = {
            name: value for name, value in said.items() if name not in ("enable.sasl.oauthbearer.unsecure.jwt", "sasl.oauthbearer.config")
        }
        for name, value in secret.items():
            path = folder / f"{user}-{mechanism}-{name}"
            path.write_text(value)
            lines[name] = f"file:{path}"
        return Connection.of(lines)


def token(user: str) -> str:
    """An unsigned token, which the embedded cluster takes."""
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": user, "iat": now, "exp": now + 600})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."
