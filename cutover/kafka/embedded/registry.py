"""Which embedded clusters run on this machine for this user, and which were left behind.

One JSON file per cluster below $XDG_STATE_HOME/cutover/kafka. A file is a hint: what runs is decided by looking at the processes.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cutover.errors import KafkaInUse
from cutover.kafka.embedded.broker import wait_for
from cutover.kafka.embedded.identity import Identity, lives

State = Literal["running", "owned", "stale", "ended"]
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that was started here: where its files are, who owns it, and which processes are its brokers."""

    name: str
    data_dir: Path
    temporary: bool
    bootstrap_servers: str
    owner: Identity | None
    pid_files: tuple[Path, ...]

    @property
    def alive(self) -> list[Identity]:
        """The broker processes that run."""
        return [identity for path in self.pid_files if (identity := _read_pid(path)) and lives(identity)]

    @property
    def state(self) -> State:
        """running: until `down` · owned: as long as the process that started it · stale: its owner is gone · ended: no broker lives."""
        if not self.alive:
            return "ended"
        if self.owner is None:
            return "running"
        return "owned" if lives(self.owner) else "stale"

    def document(self) -> dict[str, Any]:
        """As `cutover kafka status --output json` prints it."""
        return {
            "name": self.name,
            "state": self.state,
            "bootstrap_servers": self.bootstrap_servers,
            "data_dir": str(self.data_dir),
            "temporary": self.temporary,
            "pids": [identity.pid for identity in self.alive],
            "owner_pid": self.owner.pid if self.owner else None,
        }


def state_home() -> Path:
    """Where clusters are written down: $XDG_STATE_HOME/cutover/kafka, by default below ~/.local/state."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "cutover" / "kafka"


def name_of(data_dir: Path) -> str:
    """A short stable name for the cluster of a data directory."""
    return hashlib.sha256(str(data_dir).encode()).hexdigest()[:8]


def path_of(data_dir: Path) -> Path:
    """The file that records the cluster of a data directory."""
    return state_home() / f"{name_of(data_dir)}.json"


def remember(data_dir: Path, temporary: bool, bootstrap_servers: str, pid_files: Sequence[Path], owner: Identity | None) -> None:
    """Writes a cluster down, before its brokers answer: one that never does must be found too."""
    path = path_of(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "data_dir": str(data_dir),
        "temporary": temporary,
        "bootstrap_servers": bootstrap_servers,
        "owner": owner,
        "pid_files": [str(file) for file in pid_files],
    }
    path.write_text(json.dumps(document))


def forget(data_dir: Path) -> None:
    """Removes what was written down."""
    path_of(data_dir).unlink(missing_ok=True)


def clusters() -> list[Cluster]:
    """Every cluster of which a process lives; files of ended ones are removed on the way."""
    found = [cluster for path in sorted(state_home().glob("*.json")) if (cluster := _read(path))]
    for cluster in found:
        if cluster.state == "ended" and not (cluster.owner and lives(cluster.owner)):
            _clear(cluster)
    return [cluster for cluster in found if cluster.state != "ended"]


def refuse_if_used(data_dir: Path) -> None:
    """Raises KafkaInUse when brokers on this data directory live; names them and the command that ends them."""
    cluster = _read(path_of(data_dir))
    if cluster and cluster.alive:
        pids = ", ".join(str(identity.pid) for identity in cluster.alive)
        raise KafkaInUse(
            f"{data_dir} is in use by the brokers of cluster {cluster.name} (pid {pids}, {cluster.state}).",
            advice=f"End it: cutover kafka down {cluster.name}",
            name=cluster.name,
            state=cluster.state,
        )


def end(cluster: Cluster) -> None:
    """Stops every broker of a cluster in order, after 30 s by force, and removes a temporary data directory."""
    alive = cluster.alive
    for number in (signal.SIGTERM, signal.SIGCONT):
        _signal(alive, number)
    if not wait_for(lambda: not cluster.alive, STOP_SECONDS):
        _signal(cluster.alive, signal.SIGKILL)
        wait_for(lambda: not cluster.alive, STOP_SECONDS)
    _clear(cluster)


def _clear(cluster: Cluster) -> None:
    forget(cluster.data_dir)
    if cluster.temporary:
        shutil.rmtree(cluster.data_dir, ignore_errors=True)


def _signal(processes: Sequence[Identity], number: signal.Signals) -> None:
    for identity in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, number)


def _read(path: Path) -> Cluster | None:
    try:
        document = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None  # being written or removed by another process at this moment
    return Cluster(
        path.stem,
        Path(document["data_dir"]),
        document["temporary"],
        document["bootstrap_servers"],
        Identity(*document["owner"]) if document["owner"] else None,
        tuple(map(Path, document["pid_files"])),
    )


def _read_pid(path: Path) -> Identity | None:
    try:
        return Identity(*json.loads(path.read_text()))
    except FileNotFoundError:
        return None
