"""A certificate authority for one embedded cluster, with a certificate for its brokers and one for each client that asks.

Made for tests and rehearsals on the loopback address: keys are not encrypted and live as long as the data directory.
"""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cutover.errors import EmbeddedMissing

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

BROKER = "cutover-broker"
LIFETIME = datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files of one identity: certificate chain, private key (PKCS#8), and both in one file as Kafka wants them."""

    certificate: Path
    key: Path
    store: Path


class Authority:
    """Signs certificates and writes them below one folder; an authority that is there already is used again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _require_cryptography()
        if not self.ca.exists():
            self._sign("ca", None)
        self.broker = self.issue(BROKER)

    def issue(self, name: str) -> CertificateFiles:
        """The files of a certificate whose common name is `name`, valid for 127.0.0.1 and localhost."""
        files = self._files(name)
        if not files.store.exists():
            self._sign(name, self._files("ca"))
        return files

    def _files(self, name: str) -> CertificateFiles:
        return CertificateFiles(self.folder / f"{name}.pem", self.folder / f"{name}.key", self.folder / f"{name}.store.pem")

    def _sign(self, name: str, issuer: CertificateFiles | None) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        signer = _load_key(issuer.key) if issuer else key
        parent = x509.load_pem_x509_certificate(issuer.certificate.read_bytes()).subject if issuer else _subject(name)
        pem = _template(name, parent, key, signer).sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files = self._files(name)
        files.certificate.write_bytes(pem)
        files.key.write_bytes(secret)
        files.store.write_bytes(secret + pem)


def _require_cryptography() -> None:
    try:
        import cryptography
    except ImportError as error:
        raise EmbeddedMissing("A secured embedded Kafka needs certificates: the package cryptography is not installed.") from error
    del cryptography


def _subject(name: str) -> "x509.Name":
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _load_key(path: Path) -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds another kind of key than this authority makes")
    return key


def _template(
    name: str, parent: "x509.Name", key: "EllipticCurvePrivateKey", signer: "EllipticCurvePrivateKey"
) -> "x509.CertificateBuilder":
    from cryptography import x509

    begins = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .issuer_name(parent)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=key is signer, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(names, critical=False)
    )
