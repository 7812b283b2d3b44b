import hashlib
import sys
from pathlib import Path

import pytest

from cutover.errors import EmbeddedMissing, JarTampered, JarUnreachable
from cutover.kafka.embedded.jars import Advance, Lock, LockedJar, class_path, fetch_with_jgo, read_lock

CONTENT = {"alpha": b"the jar alpha", "beta": b"the jar beta, longer"}


def locked(name: str) -> LockedJar:
    return LockedJar(f"org.example:{name}:1.0", hashlib.sha256(CONTENT[name]).hexdigest(), len(CONTENT[name]))


LOCK = Lock("9.9.9", (locked("alpha"), locked("beta")))


class Repository:
    """A repository in memory that counts what is asked of it."""

    def __init__(self, **changed: bytes) -> None:
        self.content = CONTENT | changed
        self.asked: list[str] = []

    def __call__(self, jar: LockedJar, folder: Path, advance: Advance) -> Path:
        name = jar.artifact.split(":")[1]
        self.asked.append(name)
        path = folder / jar.file_name
        path.write_bytes(self.content[name])
        advance(jar.size_bytes)
        return path


def offline(jar: LockedJar, _folder: Path, _advance: Advance) -> Path:
    raise AssertionError(f"the network was asked for {jar.artifact}")


def test_every_jar_is_downloaded_once_and_then_used_without_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository = Repository()
    first = class_path(LOCK, tmp_path, repository)
    assert repository.asked == ["alpha", "beta"]
    assert [path.read_bytes() for path in first] == list(CONTENT.values())
    assert "downloading Apache Kafka 9.9.9: 2 jars" in capsys.readouterr().err
    assert class_path(LOCK, tmp_path, offline) == first
    assert capsys.readouterr().err == ""


def test_a_download_with_another_content_is_refused_by_name_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(JarTampered, match=r"beta-1\.0\.jar") as refused:
        class_path(LOCK, tmp_path, Repository(beta=b"something else entirely"))
    assert refused.value.fields["locked"] == LOCK.jars[1].sha256
    assert not list(tmp_path.rglob("beta*"))
    assert not list(tmp_path.rglob("incoming-*"))


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(JarTampered):
        class_path(LOCK, tmp_path, Repository(beta=b"cut off"))
    again = Repository()
    class_path(LOCK, tmp_path, again)
    assert again.asked == ["beta"]


def test_a_jar_that_changed_in_the_cache_is_refused_at_the_next_start(tmp_path: Path) -> None:
    alpha, _ = class_path(LOCK, tmp_path, Repository())
    alpha.write_bytes(CONTENT["alpha"].replace(b"jar", b"war"))
    with pytest.raises(JarTampered, match=r"alpha-1\.0\.jar") as refused:
        class_path(LOCK, tmp_path, offline)
    assert str(alpha) in refused.value.why


def test_a_stamp_of_another_lock_does_not_count(tmp_path: Path) -> None:
    alpha, _ = class_path(LOCK, tmp_path, Repository())
    other = Lock("9.9.9", (LockedJar(LOCK.jars[0].artifact, "0" * 64, 1), LOCK.jars[1]))
    assert other.digest != LOCK.digest
    with pytest.raises(JarTampered):
        class_path(other, tmp_path, Repository())
    assert alpha.exists()


def test_without_jgo_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo", None)
    monkeypatch.setitem(sys.modules, "jgo.config", None)
    with pytest.raises(EmbeddedMissing) as refused:
        fetch_with_jgo(LOCK.jars[0], tmp_path, lambda _size_bytes: None)
    assert "pip install 'cutover[embedded]'" in refused.value.next


def test_a_repository_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = tmp_path / "jgo.conf"
    configuration.write_text("[repositories]\ncentral = http://127.0.0.1:9/maven\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(configuration))
    with pytest.raises(JarUnreachable, match=r"org\.example:alpha:1\.0") as failed:
        fetch_with_jgo(LOCK.jars[0], tmp_path, lambda _size_bytes: None)
    assert "127.0.0.1" in failed.value.why


def test_the_lock_pins_kafka_and_every_jar_with_a_checksum() -> None:
    lock = read_lock()
    assert lock.kafka == "4.3.1"
    assert {f"org.apache.kafka:{name}:4.3.1" for name in ("kafka_2.13", "kafka-clients", "kafka-server")} <= {
        jar.artifact for jar in lock.jars
    }
    assert all(len(jar.sha256) == 64 and jar.size_bytes > 0 for jar in lock.jars)
    assert len({jar.file_name for jar in lock.jars}) == len(lock.jars)
