"""An archive of Kafka's loaded classes beside its jars: the first start of all trains it, every later one takes half the time and CPU.

A JVM that finds its archive unfit (other jars, other Java) ignores it, so that the archive is speed and never behaviour.
"""

import contextlib
import fcntl
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from cutover.errors import BrokerNotStarted
from cutover.kafka.embedded import ports as port_numbers
from cutover.kafka.embedded.broker import Broker, Upbringing
from cutover.kafka.embedded.identity import own_identity
from cutover.kafka.embedded.java import Java, jvm_command
from cutover.kafka.embedded.properties import ClusterSpec, Ports, as_text, listener_names, server_properties
from cutover.kafka.embedded.storage import format_nodes, new_cluster_id

TRAINING_STOP_SECONDS = 120.0
AOT_RELEASE = 25
"""From this release on one option both trains and writes (JEP 514), and the archive holds linked classes and profiles."""

# Java 25 warns that it finds stored machine code under another name; without that code it starts as fast.
AOT_CLASSES_ONLY = ("-XX:+UnlockDiagnosticVMOptions", "-XX:-AOTAdapterCaching", "-XX:-AOTStubCaching")


def archive_options(java: Java, class_path: Sequence[Path]) -> tuple[str, ...]:
    """JVM options that use the archive, which is made first where it is missing; none if it could not be made."""
    digest = hashlib.sha256(f"{java.path} {java.version}".encode()).hexdigest()[:8]
    archive = class_path[0].parent / f"classes-java{java.release}-{digest}.archive"
    given_up = archive.with_suffix(".failed")
    with _exclusive(archive.with_suffix(".lock")):
        if not archive.exists() and not given_up.exists():
            _make(archive, given_up, java, class_path)
    return _use(java, archive) if archive.exists() else ()


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _use(java: Java, archive: Path) -> tuple[str, ...]:
    if java.release >= AOT_RELEASE:
        return (*AOT_CLASSES_ONLY, f"-XX:AOTCache={archive}", "-Xlog:aot=off", "-Xlog:cds=off")
    return (f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:cds=off")


def _train(java: Java, archive: Path) -> tuple[str, ...]:
    if java.release >= AOT_RELEASE:
        return (*AOT_CLASSES_ONLY, f"-XX:AOTCacheOutput={archive}")
    return (f"-XX:ArchiveClassesAtExit={archive}",)


def _make(archive: Path, given_up: Path, java: Java, class_path: Sequence[Path]) -> None:
    """Starts one broker and ends it in order: the JVM writes its archive on the way out."""
    print("preparing Apache Kafka to start faster (once, about 10 s)", file=sys.stderr)  # noqa: T201
    folder = Path(tempfile.mkdtemp(prefix="cutover-training-"))
    fresh = folder / "classes.archive"
    spec = ClusterSpec()
    try:
        names = listener_names(spec)
        ports = Ports(dict(zip(names, port_numbers.choose(len(names), set()), strict=True)))
        format_nodes(spec, new_cluster_id(), {1: folder}, java, class_path)
        (folder / "server.properties").write_text(as_text(server_properties(spec, 1, {1: ports}, folder, None)))
        command = jvm_command(java, class_path, 512, *_train(java, fresh))
        broker = Broker(1, folder, ports, Upbringing(command, own_identity(), (folder,)))
        broker.start()
        broker.stop(TRAINING_STOP_SECONDS)
        shutil.move(fresh, archive)
    except (BrokerNotStarted, FileNotFoundError) as error:
        given_up.write_text(str(error))
        print(f"  not prepared, Kafka starts at its usual speed: {error}", file=sys.stderr)  # noqa: T201
    finally:
        shutil.rmtree(folder, ignore_errors=True)
