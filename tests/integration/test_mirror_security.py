"""The mirror on secured clusters: every way to log in, the exact permissions it needs, and quick names for what is refused."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from cutover import wiring
from cutover.connection import Connection
from cutover.engine.configuration import MirrorConfiguration
from cutover.engine.events import Progress
from cutover.engine.mirroring import Wanted, prepare
from cutover.engine.process import EngineProcess
from cutover.errors import CutoverError
from cutover.kafka.embedded import EmbeddedKafka, Security
from tests.kafka_options import BRISK
from tests.mirroring import ROOMY, how_it_ends, name_of

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("mirror-security")]

PASSWORD = "w0rker-pass"
PERMISSIONS = Path(__file__).resolve().parents[2] / "docs" / "mirror-permissions.md"


class Grant(NamedTuple):
    """One rule: an operation on a resource."""

    resource: ResourceType
    name: str
    operation: AclOperation
    pattern: ResourcePatternType = ResourcePatternType.LITERAL

    def binding(self, user: str) -> AclBinding:
        return AclBinding(self.resource, self.name, self.pattern, f"User:{user}", "*", self.operation, AclPermissionType.ALLOW)

    def filter(self, user: str) -> AclBindingFilter:
        return AclBindingFilter(self.resource, self.name, self.pattern, f"User:{user}", "*", self.operation, AclPermissionType.ALLOW)


# What docs/mirror-permissions.md says, word for word; a test compares them.
NEEDED = (
    Grant(ResourceType.TOPIC, "s", AclOperation.READ),
    Grant(ResourceType.TOPIC, "t", AclOperation.READ),
    Grant(ResourceType.TOPIC, "t", AclOperation.WRITE),
    Grant(ResourceType.TOPIC, "control", AclOperation.READ),
    Grant(ResourceType.GROUP, "cutover.run.0", AclOperation.READ),
    Grant(ResourceType.TRANSACTIONAL_ID, "cutover.run.0.", AclOperation.WRITE, ResourcePatternType.PREFIXED),
)


class Secured:
    """A running cluster with the two topics filled, and the configuration of a mirror on it by its administrator's view."""

    def __init__(self, kafka: EmbeddedKafka, folder: Path) -> None:
        self.kafka, self.folder = kafka, folder
        self.folder.mkdir(exist_ok=True)
        self.direct: dict[str, Any] = dict(kafka.connection())
        self.admin = AdminClient(self.direct)
        for future in self.admin.create_topics([NewTopic("s", 2), NewTopic("t", 4, config=ROOMY), NewTopic("control", 1)]).values():
            future.result(30)
        self.write(100)
        said = {name: value for name, value in self.direct.items() if name != "sasl.password"}
        if "sasl.password" in self.direct:
            said["sasl.password"] = self.secret("admin", self.direct["sasl.password"])
        connection = Connection.of(said)
        with wiring.cluster(connection) as cluster:
            prepared = prepare(cluster, connection, Wanted("s", "t", "murmur2", run="run", lanes=2))
        self.told = prepared.configuration.model_copy(update={"control_topic": "control", "pair": "p"})

    def write(self, count: int) -> None:
        producer = Producer({**self.direct, "partitioner": "murmur2_random"})
        for number in range(count):
            producer.produce("s", b"v", b"%d" % number)
        assert producer.flush(30) == 0

    def secret(self, name: str, value: str) -> str:
        """A reference to a file that holds the value."""
        path = self.folder / name
        path.write_text(value + "\n")
        path.chmod(0o600)
        return f"file:{path}"

    def login(self, mechanism: str, password: str = PASSWORD, user: str = "worker") -> MirrorConfiguration:
        """The mirror as this user; OAUTHBEARER takes a token in the password's place."""
        reference = self.secret("secret", token(user) if mechanism == "OAUTHBEARER" else password)
        sasl = {"mechanism": mechanism, "username": user, "password": reference, "token": reference}
        tls = {"ca_file": self.direct["ssl.ca.location"], "certificate_file": "", "key_file": "", "key_password": "", "server_name": ""}
        servers = self.kafka.bootstrap_servers.split(",")
        return self.on({"bootstrap_servers": servers, "security_protocol": "sasl_ssl", "sasl": sasl, "tls": tls})

    def on(self, connection: dict[str, Any]) -> MirrorConfiguration:
        return self.told.model_copy(update={"connection": connection})

    def grant(self, *grants: Grant) -> None:
        for future in self.admin.create_acls([each.binding("worker") for each in grants]).values():
            future.result(60)
        for each in grants:
            self._wait_applied(each, count=1)

    def revoke(self, grant: Grant) -> None:
        for future in self.admin.delete_acls([grant.filter("worker")]).values():
            assert len(future.result(60)) == 1
        self._wait_applied(grant, count=0)

    def _wait_applied(self, grant: Grant, count: int) -> None:
        """The brokers answer a change of rules before they go by it; what they describe is what they go by."""
        deadline = time.monotonic() + 90
        while len(self.admin.describe_acls(grant.filter("worker")).result(60)) != count:
            assert time.monotonic() < deadline, f"{grant} is not applied"


def token(user: str) -> str:
    """An unsigned JSON web token, as the embedded broker takes them."""
    parts = [{"alg": "none"}, {"sub": user, "iat": time.time() - 10, "exp": time.time() + 600}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in parts) + "."


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with EmbeddedKafka(security=Security("SASL_SSL", {"worker": PASSWORD}), config=BRISK) as kafka:
        cluster = Secured(kafka, tmp_path_factory.mktemp("secrets"))
        cluster.grant(*NEEDED)
        copies(cluster, cluster.login("SCRAM-SHA-512"))  # an empty follower is never read, so READ on it would not be missed
        yield cluster


def copies(secured: Secured, config: MirrorConfiguration) -> None:
    """Write a record more and see it copied."""
    secured.write(10)
    with EngineProcess.start("mirror", config) as worker:
        for event in worker.events(30):
            if (
                isinstance(event, Progress)
                and event.committed
                and event.lag_records == 0
                and len(event.ends) == 2
                and any(event.ends.values())
            ):
                return
        pytest.fail(f"nothing was copied: {worker.stderr_tail()}")


def refused(config: MirrorConfiguration, seconds: float = 60.0) -> CutoverError:
    """The error that ends the worker, in so much time."""
    began = time.monotonic()
    try:
        error = how_it_ends(EngineProcess.start("mirror", config), 30)
    except CutoverError as at_once:
        error = at_once
    took = time.monotonic() - began
    assert took < seconds, f"{error} took {took:.1f} s"
    assert PASSWORD not in json.dumps(error.document(), default=str)
    return error


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER"])
def test_each_login_copies_with_exactly_the_permissions_that_are_documented(secured: Secured, mechanism: str) -> None:
    copies(secured, secured.login(mechanism))


@pytest.mark.parametrize("missing", NEEDED, ids=lambda each: f"{each.operation.name}-{each.name}")
def test_a_missing_permission_is_named(secured: Secured, missing: Grant) -> None:
    secured.write(10)  # something to copy, or WRITE is never asked for
    secured.revoke(missing)
    try:
        error = refused(secured.login("SCRAM-SHA-512"))
    finally:
        secured.grant(missing)
    assert name_of(error) == "not_authorized"
    named = (error.fields["operation"], error.fields["resource"], error.fields["name"].startswith(missing.name))
    assert named == (missing.operation.name, missing.resource.name.lower().replace("_", " "), True), str(error)


def test_the_page_on_permissions_says_what_is_tested() -> None:
    said = PERMISSIONS.read_text()
    for each in NEEDED:
        kind = each.resource.name.replace("_", " ").lower()
        name = {"s": "S", "t": "T", "control": "control topic"}.get(each.name, each.name.replace("run", "RUN").replace(".0", ".EPOCH"))
        row = f"| {each.operation.name.capitalize()} | {kind} | `{name}` | {each.pattern.name.lower()} |"
        assert row in said


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_a_wrong_password_is_refused_at_once(secured: Secured, mechanism: str) -> None:
    error = refused(secured.login(mechanism, "wrong-word"), 5)
    assert name_of(error) == "authentication_failed"
    assert "wrong-word" not in json.dumps(error.document(), default=str)


@pytest.mark.slow
def test_a_token_that_the_broker_does_not_accept_is_refused_at_once(secured: Secured) -> None:
    config = secured.login("OAUTHBEARER")
    secured.secret("secret", token("worker").replace(".", "x.", 1))
    assert name_of(refused(config, 5)) == "authentication_failed"


def test_a_broker_whose_authority_is_another_is_refused_at_once(secured: Secured, tmp_path: Path) -> None:
    from cutover.kafka.embedded.tls import Authority

    config = secured.login("SCRAM-SHA-512")
    wrong = {**config.connection, "tls": {**config.connection["tls"], "ca_file": str(Authority(tmp_path / "another").ca)}}
    assert name_of(refused(secured.on(wrong), 5)) == "certificate_refused"
    system = {**config.connection, "tls": {**config.connection["tls"], "ca_file": ""}}
    assert name_of(refused(secured.on(system), 5)) == "certificate_refused"


@pytest.mark.slow
def test_speaking_plainly_to_a_broker_that_wants_tls_is_unreachable_in_time(secured: Secured) -> None:
    servers = secured.kafka.bootstrap_servers.split(",")
    assert name_of(refused(secured.on({"bootstrap_servers": servers, "security_protocol": "plaintext"}), 12)) == "unreachable"


def test_nobody_at_the_address_is_unreachable_in_time(secured: Secured) -> None:
    error = refused(secured.on({"bootstrap_servers": ["127.0.0.1:1"], "security_protocol": "plaintext"}), 12)
    assert name_of(error) == "unreachable"
    assert "refused" in str(error)


def test_mutual_tls_copies_and_asks_for_the_certificate(tmp_path: Path) -> None:
    with EmbeddedKafka(security=Security("SSL"), config=BRISK) as kafka:
        cluster = Secured(kafka, tmp_path)
        servers = kafka.bootstrap_servers.split(",")
        tls = {"ca_file": cluster.direct["ssl.ca.location"], "certificate_file": cluster.direct["ssl.certificate.location"]}
        tls |= {"key_file": cluster.direct["ssl.key.location"], "key_password": "", "server_name": ""}
        mutual = {"bootstrap_servers": servers, "security_protocol": "ssl", "tls": tls}
        copies(cluster, cluster.on(mutual))
        without = {**mutual, "tls": {**tls, "certificate_file": "", "key_file": ""}}
        assert name_of(refused(cluster.on(without), 10)) == "certificate_refused"
