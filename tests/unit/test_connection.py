"""The one connection profile: what it reads, what it refuses, and that no secret is ever shown."""

import base64
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from cutover.connection import Connection, Masked, Sasl, SecretReference, Tls, default_config_file, file_properties, token_expiry
from cutover.errors import CutoverError, ForbiddenProperty, InvalidConnection, LiteralSecret, SecretUnavailable, UnsupportedKeyStore

SECRET = "s3cret-word"
SCRAM = {
    "bootstrap.servers": "a:9092, b:9093",
    "security.protocol": "SASL_SSL",
    "sasl.mechanisms": "scram-sha-512",
    "sasl.username": "mover",
    "sasl.password": "env:MOVER_PASSWORD",
    "ssl.ca.location": "/ca.pem",
}


def jwt(**claims: object) -> str:
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims)) + "."


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOVER_PASSWORD", SECRET)


def test_a_bare_bootstrap_server_is_a_plaintext_connection() -> None:
    found = Connection.load(bootstrap="127.0.0.1:9092")
    assert found == Connection(("127.0.0.1:9092",))
    assert found.librdkafka() == {"bootstrap.servers": "127.0.0.1:9092", "security.protocol": "plaintext"}
    assert found.kafka_python() == {"bootstrap_servers": ["127.0.0.1:9092"], "security_protocol": "PLAINTEXT"}
    assert found.engine() == {"bootstrap_servers": ["127.0.0.1:9092"], "security_protocol": "plaintext"}


@pytest.mark.parametrize("text", ["", " , ", "host", "host:", ":9092", "host:0", "host:65536", "host:port"])
def test_a_bootstrap_server_that_is_not_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidConnection):
        Connection.load(bootstrap=text)


def test_librdkafka_properties_are_read() -> None:
    found = Connection.of(SCRAM)
    assert found.bootstrap_servers == ("a:9092", "b:9093")
    assert found.sasl == Sasl("SCRAM-SHA-512", "mover", SecretReference("env", "MOVER_PASSWORD"))
    assert found.tls == Tls("/ca.pem")
    assert found.librdkafka() == {
        "bootstrap.servers": "a:9092,b:9093",
        "security.protocol": "sasl_ssl",
        "enable.ssl.certificate.verification": "true",
        "ssl.endpoint.identification.algorithm": "https",
        "ssl.ca.location": "/ca.pem",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "mover",
        "sasl.password": SECRET,
    }


def test_the_engine_is_told_references_and_never_secrets() -> None:
    found = Connection.of(
        {**SCRAM, "ssl.certificate.location": "/c.pem", "ssl.key.location": "/k.pem", "ssl.key.password": "file:/k.password"}
    )
    assert found.engine() == {
        "bootstrap_servers": ["a:9092", "b:9093"],
        "security_protocol": "sasl_ssl",
        "sasl": {"mechanism": "SCRAM-SHA-512", "username": "mover", "password": "env:MOVER_PASSWORD", "token": ""},
        "tls": {
            "ca_file": "/ca.pem",
            "certificate_file": "/c.pem",
            "key_file": "/k.pem",
            "key_password": "file:/k.password",
            "server_name": "",
        },
    }
    assert SECRET not in json.dumps(found.engine())


def test_java_properties_with_a_jaas_line_are_read(tmp_path: Path) -> None:
    path = tmp_path / "client.properties"
    path.write_text(
        "# how the Java tools connect\n! and another comment\n\nbootstrap.servers = k:9092\nsecurity.protocol=SASL_SSL\n"
        "sasl.mechanism=SCRAM-SHA-256\n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n"
        '    username="mover" password="${env:MOVER_PASSWORD}";\n'
        "ssl.truststore.type=PEM\nssl.truststore.location=/trust.pem\nssl.keystore.type=pem\nssl.keystore.location=/both.pem\n"
        "key.serializer.class=org.apache.kafka.common.serialization.StringSerializer\nacks=all\n"
    )
    found = Connection.load(properties_file=path)
    assert found.sasl == Sasl("SCRAM-SHA-256", "mover", SecretReference("env", "MOVER_PASSWORD"))
    assert found.tls == Tls("/trust.pem", "/both.pem", "/both.pem")
    assert found.ignored == ("acks", "key.serializer.class")


def test_a_jaas_line_with_single_quotes_and_bare_words_is_read() -> None:
    line = "a.b.PlainLoginModule required username=mover password='env:MOVER_PASSWORD' ;"
    found = Connection.of(
        {"bootstrap.servers": "a:1", "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.jaas.config": line}
    )
    assert found.sasl == Sasl("PLAIN", "mover", SecretReference("env", "MOVER_PASSWORD"))
    assert found.kafka_python()["sasl_plain_password"] == SECRET
    assert "tls" not in found.engine()


def test_a_jaas_line_without_a_password_gives_none() -> None:
    line = "x.OAuthBearerLoginModule required;"
    properties = {
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.token": "env:T",
        "sasl.jaas.config": line,
    }
    assert Connection.of({**properties, "bootstrap.servers": "a:1"}).sasl == Sasl("OAUTHBEARER", token=SecretReference("env", "T"))


@pytest.mark.parametrize("line", ["nonsense", "com.sun.security.auth.module.JndiLoginModule required;"])
def test_a_jaas_line_that_is_no_login_of_kafka_is_refused(line: str) -> None:
    with pytest.raises((InvalidConnection, ForbiddenProperty)):
        Connection.of({**SCRAM, "sasl.jaas.config": line})


@pytest.mark.parametrize("store", ["truststore", "keystore"])
@pytest.mark.parametrize("kind", [{}, {"type": "JKS"}, {"type": "PKCS12"}])
def test_a_java_key_store_is_refused_with_advice(store: str, kind: dict[str, str]) -> None:
    properties = {f"ssl.{store}.location": "/store", **{f"ssl.{store}.{name}": value for name, value in kind.items()}}
    with pytest.raises(UnsupportedKeyStore) as caught:
        Connection.of({**SCRAM, **properties})
    assert "PEM" in caught.value.next


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plugin.library.paths", "/evil.so"),
        ("ssl.engine.location", "/evil.so"),
        ("ssl.engine.id", "x"),
        ("ssl.engine.factory.class", "x"),
        ("ssl.providers", "x"),
        ("sasl.kerberos.kinit.cmd", "rm"),
        ("sasl.login.callback.handler.class", "x"),
        ("sasl.client.callback.handler.class", "x"),
        ("sasl.login.class", "x"),
        ("security.providers", "x"),
        ("metric.reporters", "x"),
        ("interceptor.classes", "x"),
        ("config.providers.file.class", "x"),
        ("enable.ssl.certificate.verification", "false"),
        ("ssl.endpoint.identification.algorithm", ""),
        ("ssl.endpoint.identification.algorithm", "none"),
        ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
    ],
)
def test_what_loads_code_or_switches_verification_off_is_forbidden_from_every_source(name: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "client.properties"
    path.write_text(f"bootstrap.servers=a:1\n{name}={value}\n")
    with pytest.raises(ForbiddenProperty, match=name):
        Connection.load(properties_file=path)
    with pytest.raises(ForbiddenProperty, match=name):
        Connection.load(bootstrap="a:1", overrides=[f"{name}={value}"])


def test_verification_may_be_asked_for() -> None:
    found = Connection.of({**SCRAM, "enable.ssl.certificate.verification": "TRUE", "ssl.endpoint.identification.algorithm": "https"})
    assert found.ignored == ()


@pytest.mark.parametrize("name", ["sasl.password", "ssl.key.password", "sasl.oauthbearer.token"])
@pytest.mark.parametrize("value", [SECRET, "env:", "file:", f"vault:{SECRET}"])
def test_a_secret_in_the_open_is_refused_without_being_repeated(name: str, value: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[profiles.p]\n"bootstrap.servers" = "a:1"\n"{name}" = "{value}"\n')
    sources: list[dict[str, Any]] = [
        {"profile": "p", "config_file": config},
        {"bootstrap": "a:1", "overrides": [f"{name}={value}"]},
    ]
    for source in sources:
        with pytest.raises(LiteralSecret) as caught:
            Connection.load(**source)
        assert SECRET not in repr(caught.value) + json.dumps(caught.value.document())
        assert "env:NAME" in caught.value.next


def test_a_password_in_the_open_in_a_jaas_line_is_refused_without_being_repeated() -> None:
    line = f'x.PlainLoginModule required username="u" password="{SECRET}";'
    with pytest.raises(LiteralSecret) as caught:
        Connection.of({**SCRAM, "sasl.jaas.config": line})
    assert SECRET not in json.dumps(caught.value.document())


@pytest.mark.parametrize("name", ["ssl.key.pem", "ssl.ca.pem", "ssl.keystore.key", "ssl.truststore.certificates"])
def test_a_key_or_certificate_in_the_open_is_refused(name: str) -> None:
    with pytest.raises(LiteralSecret, match=name):
        Connection.of({**SCRAM, name: "-----BEGIN"})


def test_no_secret_is_shown_by_the_profile_or_by_what_a_library_prints() -> None:
    found = Connection.of(SCRAM)
    assert SECRET not in repr(found) + str(found)
    assert SECRET not in repr(found.librdkafka())
    assert "***" in repr(found.librdkafka())
    plain = Connection.of({**SCRAM, "security.protocol": "SASL_PLAINTEXT"})
    assert SECRET not in repr(plain.kafka_python())
    assert isinstance(plain.kafka_python()["sasl_plain_password"], Masked)


def test_a_secret_is_read_when_it_is_used_and_without_the_line_end(tmp_path: Path) -> None:
    path = tmp_path / "password"
    found = Connection.of({**SCRAM, "sasl.password": f"file:{path}"})
    with pytest.raises(SecretUnavailable, match="file:"):
        found.librdkafka()
    path.write_text("")
    with pytest.raises(SecretUnavailable):
        found.librdkafka()
    path.write_text("first\r\n")
    assert found.librdkafka()["sasl.password"] == "first"
    path.write_text("second")
    assert found.librdkafka()["sasl.password"] == "second"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SecretUnavailable):
        found.librdkafka()


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOVER_PASSWORD")
    with pytest.raises(SecretUnavailable, match="env:MOVER_PASSWORD"):
        Connection.of(SCRAM).librdkafka()


def test_a_profile_may_use_dotted_keys_tables_lists_and_numbers(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[profiles.staging]\nbootstrap.servers = ["a:1", "b:2"]\nsecurity.protocol = "SASL_PLAINTEXT"\nsocket.timeout.ms = 1000\n'
        'socket.keepalive.enable = true\n[profiles.staging.sasl]\nmechanism = "PLAIN"\nusername = "u"\npassword = "env:MOVER_PASSWORD"\n'
    )
    found = Connection.load(profile="staging", config_file=config)
    assert found.bootstrap_servers == ("a:1", "b:2")
    assert found.sasl == Sasl("PLAIN", "u", SecretReference("env", "MOVER_PASSWORD"))
    assert found.tuning == (("socket.keepalive.enable", "true"), ("socket.timeout.ms", "1000"))
    assert found.librdkafka()["socket.timeout.ms"] == "1000"


def test_the_later_source_wins(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[profiles.p]\n"bootstrap.servers" = "profile:1"\n"client.id" = "profile"\n"client.rack" = "profile"\ndebug = "profile"\n'
    )
    properties = tmp_path / "client.properties"
    properties.write_text("bootstrap.servers=file:1\nclient.id=file\nclient.rack=file\n")
    found = Connection.load(bootstrap="option:1", profile="p", properties_file=properties, overrides=["client.id=x"], config_file=config)
    assert found.bootstrap_servers == ("option:1",)
    assert dict(found.tuning) == {"client.id": "x", "client.rack": "file", "debug": "profile"}


@pytest.mark.parametrize("content", ["", "profiles = 1", "[profiles]\np = 1", "[profiles.other]\n"])
def test_a_profile_that_is_not_there_is_named(tmp_path: Path, content: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(content)
    with pytest.raises(InvalidConnection, match="'p'"):
        Connection.load(profile="p", config_file=config)


def test_a_config_file_that_cannot_be_read_or_is_not_toml_is_named(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    with pytest.raises(InvalidConnection, match=r"config\.toml"):
        Connection.load(profile="p", config_file=config)
    config.write_text("[profiles")
    with pytest.raises(InvalidConnection, match="not TOML"):
        Connection.load(profile="p", config_file=config)


def test_the_config_file_stands_where_the_user_keeps_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_config_file() == tmp_path / "cutover" / "config.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_config_file() == tmp_path / ".config" / "cutover" / "config.toml"


def test_a_properties_file_that_is_missing_or_odd_is_refused_without_repeating_its_lines(tmp_path: Path) -> None:
    with pytest.raises(InvalidConnection):
        file_properties(tmp_path / "missing")
    path = tmp_path / "odd"
    path.write_text(f"{SECRET}\n")
    with pytest.raises(InvalidConnection) as caught:
        file_properties(path)
    assert SECRET not in json.dumps(caught.value.document())
    path.write_text(f"={SECRET}\n")
    with pytest.raises(InvalidConnection) as caught:
        file_properties(path)
    assert SECRET not in json.dumps(caught.value.document())


@pytest.mark.parametrize("override", ["acks=all", "sasl.pasword=env:X", "novalue"])
def test_an_override_that_means_nothing_is_refused(override: str) -> None:
    with pytest.raises(InvalidConnection):
        Connection.load(bootstrap="a:1", overrides=[override])


@pytest.mark.parametrize(
    "wrong",
    [
        {"security.protocol": "tls"},
        {"sasl.mechanisms": "GSSAPI"},
        {"sasl.mechanisms": ""},
        {"sasl.username": ""},
        {"sasl.password": ""},
        {"sasl.mechanisms": "OAUTHBEARER"},
        {"sasl.oauthbearer.method": "oidc"},
        {"ssl.key.location": "/key-without-certificate.pem"},
    ],
)
def test_a_profile_that_cannot_work_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidConnection):
        Connection.of({**SCRAM, **wrong})


def test_a_token_is_read_anew_at_each_login_and_says_when_it_expires(tmp_path: Path) -> None:
    path = tmp_path / "token"
    found = Connection.of(
        {
            "bootstrap.servers": "a:1",
            "security.protocol": "sasl_plaintext",
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "default",
            "sasl.oauthbearer.token": f"file:{path}",
        }
    )
    path.write_text(jwt(sub="mover", exp=2_000_000_000))
    config = found.librdkafka()
    assert config["oauth_cb"]("") == (jwt(sub="mover", exp=2_000_000_000), 2_000_000_000)
    assert "sasl.password" not in config
    assert "sasl_plain_password" not in found.kafka_python()
    path.write_text("opaque")
    assert found.token(now=lambda: 100.0) == ("opaque", 400.0)
    assert found.engine()["sasl"] == {"mechanism": "OAUTHBEARER", "username": "", "password": "", "token": f"file:{path}"}


def test_a_connection_without_a_token_has_none_to_give() -> None:
    for found in (Connection(("a:1",)), Connection.of(SCRAM)):
        with pytest.raises(InvalidConnection):
            found.token()


@pytest.mark.parametrize("token", ["opaque", "a.b", "a.!!!.c", "a.e30.c", "a.WzFd.c", "a.bm8.c", jwt(exp="soon"), jwt(exp=None)])
def test_a_token_that_does_not_say_when_it_expires_has_no_expiry(token: str) -> None:
    assert token_expiry(token) is None


def test_tls_is_always_verified_and_at_least_1_2() -> None:
    context = Connection(("a:1",), "ssl").kafka_python()["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_certificate_files_that_cannot_be_used_are_an_error_of_ours(tmp_path: Path) -> None:
    odd = tmp_path / "odd.pem"
    odd.write_text("no certificate")
    for tls in (Tls(str(tmp_path / "missing.pem")), Tls(str(odd)), Tls("", str(odd), str(odd), SecretReference("env", "MOVER_PASSWORD"))):
        with pytest.raises(InvalidConnection) as caught:
            Connection(("a:1",), "ssl", tls=tls).tls_context()
        assert isinstance(caught.value, CutoverError)
        assert SECRET not in json.dumps(caught.value.document())


def test_the_key_password_reaches_librdkafka() -> None:
    tls = Tls("", "/c.pem", "/k.pem", SecretReference("env", "MOVER_PASSWORD"))
    config = Connection(("a:1",), "ssl", tls=tls).librdkafka()
    assert (config["ssl.key.password"], config["ssl.key.location"]) == (SECRET, "/k.pem")
    assert "ssl.ca.location" not in config
