"""The suite's own option --kafka: one cluster for all workers, a reason where a container engine is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cutover.kafka.embedded import registry

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("embedded")]

SAMPLE = """
import os, pytest
@pytest.mark.parametrize("number", range(4))
def test_writes_down_what_it_was_given(bootstrap, number):
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(bootstrap + " " + os.environ.get("PYTEST_XDIST_WORKER", "") + "\\n")
"""


def run_pytest(tmp_path: Path, *arguments: str) -> tuple[str, list[list[str]]]:
    """Its output, and for each test that ran: the bootstrap servers, the worker."""
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    seen = tmp_path / "seen"
    seen.touch()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.conftest",
        "--rootdir",
        str(tmp_path),
        "-c",
        os.devnull,
    ]
    environment = {**os.environ, "SEEN": str(seen), "XDG_STATE_HOME": str(tmp_path / "state")}
    environment = {key: value for key, value in environment.items() if not key.startswith("PYTEST_")}
    done = subprocess.run([*command, *arguments, "-rs", str(tmp_path)], capture_output=True, text=True, env=environment, check=False)
    return done.stdout + done.stderr, [line.split() for line in seen.read_text().splitlines()]


@pytest.mark.slow
def test_all_workers_share_one_cluster_which_ends_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, seen = run_pytest(tmp_path, "-n", "2", "--dist", "each")
    assert "8 passed" in output
    assert {worker for _, worker in seen} == {"gw0", "gw1"}
    assert len({servers for servers, _ in seen}) == 1
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert registry.clusters() == []


def test_a_cluster_of_the_users_own_is_taken_as_it_is(tmp_path: Path) -> None:
    output, seen = run_pytest(tmp_path, "--kafka=broker.example:9092")
    assert "4 passed" in output
    assert {servers for servers, *_ in seen} == {"broker.example:9092"}
    assert not (tmp_path / "state").exists(), "no broker was started"


def test_without_a_container_engine_the_tests_are_skipped_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    output, seen = run_pytest(tmp_path, "--kafka=container")
    assert "4 skipped" in output
    assert "no container engine answers" in output
    assert seen == []
