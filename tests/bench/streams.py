"""Kafka Streams on the same work: `stream(S).to(T)`, exactly once. Built here from its jars where a JDK with javac is."""

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cutover.engine.configuration import Topic
from cutover.errors import CutoverError
from cutover.kafka.embedded.jars import Lock as JarLock
from cutover.kafka.embedded.jars import LockedJar, class_path, read_lock
from cutover.kafka.embedded.java import find_java
from tests.bench.copies import Copy, observe
from tests.bench.ground import Ground

SOURCE = Path(__file__).with_name("StreamsPeer.java")
JARS = (
    LockedJar("org.apache.kafka:kafka-streams:4.3.1", "bd73f3805e116f711e8456ee89a8a5b43ff5dcf5a5bb865afae29deae89e7c4b", 2_277_950),
    LockedJar("org.rocksdb:rocksdbjni:10.1.3", "e7f925287d9fe2574fb7c7a86f7facaa9b8ab602a2eed0e598bf633528121498", 72_725_808),
)
HEAP_MB = 1024


@dataclass(frozen=True, slots=True)
class Built:
    """The compiled program and what it needs to run."""

    java: Path
    class_path: str
    version: str


def build(folder: Path) -> Built | str:
    """Compile it; where that cannot be done, say why."""
    javac = shutil.which("javac")
    if javac is None:
        return "there is no JDK with javac here"
    try:
        streams = class_path(JarLock(read_lock().kafka, JARS))
    except CutoverError as error:
        return f"the jars of Kafka Streams could not be had: {error}"
    jars = os.pathsep.join(map(str, (*streams, *class_path())))
    subprocess.run([javac, "--release", "17", "-cp", jars, "-d", folder, SOURCE], check=True)
    java = find_java()
    return Built(java.path, os.pathsep.join((str(folder), jars)), f"Java {java.release}")


def copy(ground: Ground, built: Built, origin: Topic, follower: Topic, records: int, codec: str) -> Copy:
    """Copy what is there once."""
    application = f"bench-{uuid.uuid4().hex[:8]}"
    arguments = (ground.bootstrap, origin.name, follower.name, application, codec, str(ground.folder / application))
    command = [str(built.java), f"-Xmx{HEAP_MB}m", "-cp", built.class_path, "StreamsPeer", *arguments]
    return observe(ground, origin, follower, application, records, _copying(command, ground.folder / f"{application}.log"))


@contextlib.contextmanager
def _copying(command: Sequence[str], log: Path) -> Iterator[list[int]]:
    with log.open("wb") as words:
        process = subprocess.Popen(command, stdout=words, stderr=words)
        try:
            yield [process.pid]
        finally:
            process.kill()
            process.wait()
