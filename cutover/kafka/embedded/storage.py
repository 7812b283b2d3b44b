"""Formats the storage of a cluster: Kafka's StorageTool runs at most once, its result is written to every node.

What it makes for a cluster without users depends on the versions alone and is kept beside the jars, so that most starts need no extra JVM.
"""

import base64
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from cutover.errors import BrokerNotStarted
from cutover.kafka.embedded.java import Java
from cutover.kafka.embedded.properties import ClusterSpec

CHECKPOINT = "bootstrap.checkpoint"
META = "meta.properties"


def new_cluster_id() -> str:
    """A random id in Kafka's form: 22 characters of URL-safe base64, never beginning with a dash."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def format_nodes(spec: ClusterSpec, cluster_id: str, folders: dict[int, Path], java: Java, class_path: Sequence[Path]) -> None:
    """Writes meta.properties and the bootstrap checkpoint (features, SCRAM users) into each node's log directory."""
    checkpoint = _checkpoint(spec, cluster_id, java, class_path)
    for node, folder in folders.items():
        log = folder / "log"
        log.mkdir(parents=True)
        (log / CHECKPOINT).write_bytes(checkpoint)
        (log / META).write_text(f"version=1\ncluster.id={cluster_id}\nnode.id={node}\ndirectory.id={new_cluster_id()}\n")


def _checkpoint(spec: ClusterSpec, cluster_id: str, java: Java, class_path: Sequence[Path]) -> bytes:
    if spec.security and spec.security.sasl:
        return _run_tool(spec, cluster_id, java, class_path)  # holds credentials: never cached
    kept = class_path[0].parent / f"bootstrap-transactions-{spec.transaction_version}.checkpoint"
    if not kept.exists():
        fresh = kept.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(_run_tool(spec, cluster_id, java, class_path))
        fresh.replace(kept)
    return kept.read_bytes()


def _run_tool(spec: ClusterSpec, cluster_id: str, java: Java, class_path: Sequence[Path]) -> bytes:
    folder = Path(tempfile.mkdtemp(prefix="cutover-format-"))
    try:
        configuration = folder / "format.properties"
        configuration.write_text(_MINIMAL + f"log.dirs={folder / 'log'}\n")
        arguments = ["format", "-t", cluster_id, "-c", str(configuration), "--feature", f"transaction.version={spec.transaction_version}"]
        command = [
            str(java.path),
            "-Xshare:auto",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            "-cp",
            os.pathsep.join(map(str, class_path)),
        ]
        done = subprocess.run([*command, "kafka.tools.StorageTool", *arguments, *_users(spec)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerNotStarted("Kafka's storage could not be formatted.", why=(done.stderr or done.stdout).strip()[-500:])
        return (folder / "log" / CHECKPOINT).read_bytes()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_MINIMAL = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:1
listeners=CLIENT://127.0.0.1:2,CONTROLLER://127.0.0.1:1
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENT
"""


def _users(spec: ClusterSpec) -> list[str]:
    users = spec.security.users if spec.security else {}
    mechanisms = ("SCRAM-SHA-256", "SCRAM-SHA-512")
    return [
        word
        for name, password in users.items()
        for mechanism in mechanisms
        for word in ("--add-scram", f"{mechanism}=[name={name},password={password}]")
    ]
