"""One profile of how to reach a cluster, for the Python side and the engine alike.

Reads librdkafka properties, Java client.properties, profiles of a TOML file and `-X key=value`; refuses what would load code,
switch verification off, or carry a secret in the open. Secrets stay references until the moment a client is made.
"""

import base64
import binascii
import json
import os
import re
import ssl
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cutover.errors import ForbiddenProperty, InvalidConnection, LiteralSecret, SecretUnavailable, UnsupportedKeyStore

PROTOCOLS: Final = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
TOKEN_SECONDS: Final = 300
"""How long a token that does not say when it expires is trusted."""

SAME: Final = {
    "bootstrap.servers": "bootstrap",
    "metadata.broker.list": "bootstrap",
    "security.protocol": "protocol",
    "sasl.mechanism": "mechanism",
    "sasl.mechanisms": "mechanism",
    "sasl.username": "username",
    "sasl.password": "password",
    "sasl.oauthbearer.token": "token",
    "ssl.ca.location": "ca",
    "ssl.certificate.location": "certificate",
    "ssl.key.location": "key",
    "ssl.key.password": "key_password",
}
"""Property names of either dialect, and what they say."""

SECRETS: Final = frozenset(name for name, word in SAME.items() if word in {"password", "token", "key_password"})

CODE: Final = re.compile(
    r"plugin\.library\.paths|ssl\.engine\..*|ssl\.providers|ssl\.engine\.id|sasl\.kerberos\.kinit\.cmd|security\.providers"
    r"|config\.providers(\..*)?|metric\.reporters|interceptor\.classes|auto\.include\.jmx\.reporter|.*\.class(es|\.name)?"
)
"""Properties that load code or run a command, in librdkafka or in Java."""

CODE_BUT_HARMLESS: Final = frozenset(
    {"key.serializer.class", "value.serializer.class", "key.deserializer.class", "value.deserializer.class"}
)
UNVERIFIED: Final = {
    "enable.ssl.certificate.verification": ("true", "1"),
    "ssl.endpoint.identification.algorithm": ("https",),
    "enable.sasl.oauthbearer.unsecure.jwt": ("false", "0"),
}
"""Properties that can weaken verification, and the only values they may have."""

INLINE_KEYS: Final = re.compile(r"ssl\.(ca|certificate|key)\.pem|ssl\.(truststore\.certificates|keystore\.(key|certificate\.chain))")
STORES: Final = frozenset(
    {f"ssl.{store}.{what}" for store in ("truststore", "keystore") for what in ("type", "location", "password")}
    | {"ssl.keystore.key.password"}
)
PASSED_ON: Final = re.compile(
    r"client\.(id|rack|dns\.lookup)|socket\..*|reconnect\.backoff\..*|retry\.backoff\..*|metadata\.max\.age\.ms|topic\.metadata\..*"
    r"|broker\.address\..*|connections\.max\.idle\.ms|(receive\.)?message\.max\.bytes|ssl\.(cipher\.suites|curves\.list|sigalgs\.list|crl\.location)"
    r"|api\.version\.request.*|log_level|debug"
)
"""Tuning that librdkafka may have as it is."""

ENV_IN_JAVA: Final = re.compile(r"\$\{env:(\w+)\}")
LOGIN_MODULE: Final = re.compile(r"^\s*([\w.$]+)\s+(?:required|requisite|sufficient|optional)\b(.*?);?\s*$", re.DOTALL)
LOGIN_OPTION: Final = re.compile(r"""(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s;]+))""")
LOGIN_MODULES: Final = ("PlainLoginModule", "ScramLoginModule", "OAuthBearerLoginModule")


class Masked(str):
    """A secret for a library's ears: prints as `***` wherever a library prints its configuration."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Never the secret."""
        return "'***'"


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret is: `env:NAME` or `file:/path`. The reference may be shown, what it leads to may not."""

    kind: str
    place: str

    @classmethod
    def parse(cls, text: str, property_name: str) -> "SecretReference":
        """Read a reference; raises LiteralSecret for anything else, without repeating it."""
        kind, separator, place = ENV_IN_JAVA.sub(r"env:\1", text).partition(":")
        if kind not in {"env", "file"} or not separator or not place:
            raise LiteralSecret(f"{property_name} holds a secret in the open", property=property_name)
        return cls(kind, place)

    def __str__(self) -> str:
        """The reference as it is written."""
        return f"{self.kind}:{self.place}"

    def resolve(self) -> Masked:
        """Read the secret now; raises SecretUnavailable. A file's last line end is not part of it."""
        if self.kind == "env":
            found = os.environ.get(self.place, "")
            why = "the environment variable is not set or empty"
        else:
            found, why = _file_text(self.place)
        if not found:
            raise SecretUnavailable(f"the secret {self} is not there", why=why, reference=str(self))
        return Masked(found)


def _file_text(path: str) -> tuple[str, str]:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), "the file is empty"
    except (OSError, UnicodeDecodeError) as error:
        return "", f"{type(error).__name__}: the file cannot be read as text"


@dataclass(frozen=True, slots=True)
class Sasl:
    """How to log in: a name and a password's reference, or a token's reference."""

    mechanism: str
    username: str = ""
    password: SecretReference | None = None
    token: SecretReference | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate files (PEM); an empty `ca_file` means the system's authorities."""

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    key_password: SecretReference | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a cluster. TLS is always verified: there is no switch.

    `tuning` goes to librdkafka as it is; `ignored` names what a file said that has no meaning here.
    """

    bootstrap_servers: tuple[str, ...]
    security_protocol: str = "plaintext"
    sasl: Sasl | None = None
    tls: Tls = Tls()
    tuning: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        *,
        bootstrap: str | None = None,
        profile: str | None = None,
        properties_file: Path | None = None,
        overrides: Iterable[str] = (),
        config_file: Path | None = None,
    ) -> "Connection":
        """Merge the sources, the later over the earlier: profile, file, `-X key=value`, `--bootstrap`."""
        said = profile_properties(profile, config_file or default_config_file()) if profile is not None else {}
        said |= file_properties(properties_file) if properties_file is not None else {}
        said |= override_properties(overrides)
        said |= {"bootstrap.servers": bootstrap} if bootstrap is not None else {}
        return cls.of(said)

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> "Connection":
        """Read properties of either dialect; raises a PlanWrong that names the property, never its value if it is secret."""
        for name, value in properties.items():
            _refuse_unsafe(name, value)
        said = {SAME[name]: value for name, value in properties.items() if name in SAME}
        said |= _from_stores(properties)
        said |= {word: value for word, value in _from_jaas(properties.get("sasl.jaas.config", "")).items() if word not in said}
        protocol = said.get("protocol", "plaintext").lower()
        if protocol not in PROTOCOLS:
            raise InvalidConnection(f"security.protocol {protocol!r} is none of {', '.join(PROTOCOLS)}", property="security.protocol")
        return cls(
            bootstrap_servers=_servers(said.get("bootstrap", "")),
            security_protocol=protocol,
            sasl=_sasl(said) if protocol.startswith("sasl") else None,
            tls=_tls(said) if protocol.endswith("ssl") else Tls(),
            tuning=tuple(sorted((name, value) for name, value in properties.items() if PASSED_ON.fullmatch(name))),
            ignored=tuple(sorted(name for name in properties if not _is_known(name))),
        )

    def librdkafka(self) -> dict[str, Any]:
        """The configuration of a librdkafka client, with the secrets read just now."""
        found: dict[str, Any] = dict(self.tuning)
        found |= {"bootstrap.servers": ",".join(self.bootstrap_servers), "security.protocol": self.security_protocol}
        if self.security_protocol.endswith("ssl"):
            found |= {"enable.ssl.certificate.verification": "true", "ssl.endpoint.identification.algorithm": "https"}
            named = {
                "ssl.ca.location": self.tls.ca_file,
                "ssl.certificate.location": self.tls.certificate_file,
                "ssl.key.location": self.tls.key_file,
            }
            found |= {name: value for name, value in named.items() if value}
            found |= {"ssl.key.password": self.tls.key_password.resolve()} if self.tls.key_password else {}
        if self.sasl is not None:
            found["sasl.mechanism"] = self.sasl.mechanism
            found |= {"oauth_cb": lambda _config: self.token()} if self.sasl.token else {}
            found |= {"sasl.username": self.sasl.username, "sasl.password": self.sasl.password.resolve()} if self.sasl.password else {}
        return found

    def kafka_python(self) -> dict[str, Any]:
        """The configuration of a kafka-python client, secrets read just now; the adapter makes its token provider from `token`."""
        found: dict[str, Any] = {"bootstrap_servers": list(self.bootstrap_servers), "security_protocol": self.security_protocol.upper()}
        if self.security_protocol.endswith("ssl"):
            found["ssl_context"] = self.tls_context()
        if self.sasl is not None:
            found["sasl_mechanism"] = self.sasl.mechanism
            if self.sasl.password is not None:
                found |= {"sasl_plain_username": self.sasl.username, "sasl_plain_password": self.sasl.password.resolve()}
        return found

    def engine(self) -> dict[str, Any]:
        """The JSON object that the engine takes as `connection`; secrets stay references."""
        found: dict[str, Any] = {"bootstrap_servers": list(self.bootstrap_servers), "security_protocol": self.security_protocol}
        if self.sasl is not None:
            found["sasl"] = {
                "mechanism": self.sasl.mechanism,
                "username": self.sasl.username,
                "password": str(self.sasl.password or ""),
                "token": str(self.sasl.token or ""),
            }
        if self.security_protocol.endswith("ssl"):
            found["tls"] = {
                "ca_file": self.tls.ca_file,
                "certificate_file": self.tls.certificate_file,
                "key_file": self.tls.key_file,
                "key_password": str(self.tls.key_password or ""),
                "server_name": "",
            }
        return found

    def token(self, now: Callable[[], float] = time.time) -> tuple[str, float]:
        """The bearer token, read now, and the second since 1970 at which it expires (now + 5 min if it does not say)."""
        if self.sasl is None or self.sasl.token is None:
            raise InvalidConnection("this connection logs in without a token")
        token = self.sasl.token.resolve()
        return token, token_expiry(token) or now() + TOKEN_SECONDS

    def tls_context(self) -> ssl.SSLContext:
        """A TLS context that verifies certificate and host name."""
        try:
            context = ssl.create_default_context(cafile=self.tls.ca_file or None)
            if self.tls.certificate_file:
                password = self.tls.key_password.resolve() if self.tls.key_password else None
                context.load_cert_chain(self.tls.certificate_file, self.tls.key_file or None, password)
        except (OSError, ssl.SSLError) as error:
            raise InvalidConnection("the certificate files cannot be used", why=str(error)) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def token_expiry(token: str) -> float | None:
    """The `exp` of a JWT, unverified (the broker verifies it); None for any other token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        expiry = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))["exp"]
        return float(expiry)
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None


def default_config_file() -> Path:
    """Where profiles are kept: cutover/config.toml below XDG_CONFIG_HOME, else below ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "cutover" / "config.toml"


def profile_properties(name: str, config_file: Path) -> dict[str, str]:
    """The properties of [profiles.NAME]; dotted keys and nested tables mean the same."""
    try:
        profiles = tomllib.loads(config_file.read_text(encoding="utf-8")).get("profiles", {})
    except OSError as error:
        raise InvalidConnection(f"the config file {config_file} cannot be read", why=str(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidConnection(f"the config file {config_file} is not TOML", why=str(error)) from error
    if not isinstance(profiles, dict) or not isinstance(profiles.get(name), dict):
        known = sorted(profiles) if isinstance(profiles, dict) else []
        raise InvalidConnection(f"there is no profile {name!r}", why=f"{config_file} has: {', '.join(known) or 'none'}", profile=name)
    return dict(_flat(profiles[name], ""))


def file_properties(path: Path) -> dict[str, str]:
    """The properties of a key=value file, as Java and librdkafka's tools write it (comments, continued lines)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConnection(f"the properties file {path} cannot be read", why=str(error)) from error
    lines = (line.strip() for line in re.sub(r"\\\r?\n\s*", "", text).splitlines())
    return dict(_pair(line, str(path)) for line in lines if line and not line.startswith(("#", "!")))


def override_properties(overrides: Iterable[str]) -> dict[str, str]:
    """The properties of `-X key=value`; one that means nothing here is refused, since it is a slip of the hand."""
    found = dict(_pair(each, "-X") for each in overrides)
    for name in found:
        if not _is_known(name) and not CODE.fullmatch(name):
            raise InvalidConnection(f"-X {name} is not a connection property that cutover knows", property=name)
    return found


def _pair(line: str, source: str) -> tuple[str, str]:
    name, separator, value = line.partition("=")
    if not separator or not name.strip():
        raise InvalidConnection(f"{source} has a line that is not key=value", property=name.strip() if separator else "")
    return name.strip(), value.strip()


def _flat(table: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", ",".join(map(str, value))
        else:
            yield f"{prefix}{name}", str(value).lower() if isinstance(value, bool) else str(value)


def _is_known(name: str) -> bool:
    return name in SAME or name in STORES or name in UNVERIFIED or name == "sasl.jaas.config" or bool(PASSED_ON.fullmatch(name))


def _refuse_unsafe(name: str, value: str) -> None:
    if CODE.fullmatch(name) and name not in CODE_BUT_HARMLESS:
        raise ForbiddenProperty(f"{name} would load code or run a command", property=name)
    if name in UNVERIFIED and value.lower() not in UNVERIFIED[name]:
        raise ForbiddenProperty(f"{name} would switch verification off", property=name)
    if name in SECRETS and value:
        SecretReference.parse(value, name)
    if INLINE_KEYS.fullmatch(name):
        raise LiteralSecret(
            f"{name} carries a certificate or key in the open", advice="Put it into a PEM file and name the file.", property=name
        )
    if name == "sasl.oauthbearer.method" and value.lower() != "default":
        raise InvalidConnection(
            f"{name}={value} is not supported", advice="Let an agent keep the token in a file; set sasl.oauthbearer.token=file:/path."
        )


def _servers(text: str) -> tuple[str, ...]:
    servers = tuple(each.strip().removeprefix("PLAINTEXT://") for each in text.split(",") if each.strip())
    if not servers:
        raise InvalidConnection(
            "no bootstrap server is named", advice="Say --bootstrap HOST:PORT or name a profile.", property="bootstrap.servers"
        )
    for server in servers:
        host, separator, port = server.rpartition(":")
        if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise InvalidConnection(f"the bootstrap server {server!r} is not HOST:PORT", property="bootstrap.servers")
    return servers


def _sasl(said: Mapping[str, str]) -> Sasl:
    mechanism = said.get("mechanism", "").upper()
    if mechanism not in MECHANISMS:
        raise InvalidConnection(f"sasl.mechanism {mechanism!r} is none of {', '.join(MECHANISMS)}", property="sasl.mechanism")
    if mechanism == "OAUTHBEARER":
        if "token" not in said:
            raise InvalidConnection("OAUTHBEARER needs sasl.oauthbearer.token=env:NAME or file:/path", property="sasl.oauthbearer.token")
        return Sasl(mechanism, token=SecretReference.parse(said["token"], "sasl.oauthbearer.token"))
    if not said.get("username") or not said.get("password"):
        raise InvalidConnection(f"{mechanism} needs sasl.username and sasl.password", property="sasl.username")
    return Sasl(mechanism, said["username"], SecretReference.parse(said["password"], "sasl.password"))


def _tls(said: Mapping[str, str]) -> Tls:
    password = SecretReference.parse(said["key_password"], "ssl.key.password") if said.get("key_password") else None
    if said.get("key") and not said.get("certificate"):
        raise InvalidConnection("a TLS key needs its certificate", property="ssl.certificate.location")
    return Tls(said.get("ca", ""), said.get("certificate", ""), said.get("key", "") or said.get("certificate", ""), password)


def _from_stores(properties: Mapping[str, str]) -> dict[str, str]:
    """What Java's trust and key stores say, for the PEM type; any other is refused with advice."""
    found: dict[str, str] = {}
    for store, words in (("truststore", ("ca",)), ("keystore", ("certificate", "key"))):
        location = properties.get(f"ssl.{store}.location")
        if location is None:
            continue
        kind = properties.get(f"ssl.{store}.type", "JKS").upper()
        if kind != "PEM":
            raise UnsupportedKeyStore(f"ssl.{store}.location is a {kind} store", property=f"ssl.{store}.location")
        found |= dict.fromkeys(words, location)
    return found


def _from_jaas(text: str) -> dict[str, str]:
    """User name and password of a JAAS line, as references; a login module of another kind could run code and is refused."""
    if not text:
        return {}
    parsed = LOGIN_MODULE.match(text)
    if parsed is None:
        raise InvalidConnection("sasl.jaas.config is not MODULE required key=value ...;", property="sasl.jaas.config")
    module = parsed[1].rpartition(".")[2]
    if module not in LOGIN_MODULES:
        raise ForbiddenProperty("sasl.jaas.config names a login module other than PLAIN, SCRAM or OAUTHBEARER", property="sasl.jaas.config")
    options = {name: double or single or bare for name, double, single, bare in LOGIN_OPTION.findall(parsed[2])}
    found = {word: options[word] for word in ("username", "password", "token") if word in options}
    if "password" in found:
        SecretReference.parse(found["password"], "the password in sasl.jaas.config")
    return found
