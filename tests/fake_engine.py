"""An engine process that speaks the contract and moves nothing; FAKE_ENGINE names how it misbehaves.

Run as `fake_engine.py ROLE < configuration`; what it was told is kept in the file that FAKE_ENGINE_TOLD names.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

PROGRESS_SECONDS = float(os.environ.get("FAKE_ENGINE_PROGRESS_SECONDS", "0.05"))
TOTAL = 100


class FakeEngine:
    def __init__(self, config: dict[str, Any], behaviour: str, role: str) -> None:
        self.config = config
        self.behaviour = behaviour
        self.role = role
        self.lock = threading.Lock()
        self.listeners: list[socket.socket] = []
        self.alone_since = time.monotonic()
        self.copied = 0
        self.rate: dict[str, Any] = {}
        self.walls: dict[str, int] | None = config.get("walls") or None
        self.paused = self.cut_said = False
        self.stop_reason: str | None = None

    def run(self) -> int:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(self.config["socket"])
        server.listen()
        sys.stdout.write('{"event":"listening"}\n' if self.behaviour != "greets_wrongly" else "hello\n")
        sys.stdout.flush()
        threading.Thread(target=self.accept, args=(server,), daemon=True).start()
        while not self.listeners and not self.over():
            time.sleep(0.005)
        return self.live()

    def accept(self, server: socket.socket) -> None:
        while True:
            connection, _ = server.accept()
            with self.lock:
                self.listeners.append(connection)
            if self.behaviour != "never_ready":
                self.say(self.ready(), connection)
            threading.Thread(target=self.listen, args=(connection,), daemon=True).start()

    def ready(self) -> dict[str, Any]:
        return {
            "event": "ready",
            "role": self.role,
            "worker": self.config["worker"],
            "pid": os.getpid(),
            "version": "fake",
            "cluster_id": "fake-cluster",
            "transaction_version": 2,
            "kip890_part2": True,
        }

    def listen(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                self.obey(json.loads(line), connection)
            with self.lock:
                self.listeners.remove(connection)
                self.alone_since = time.monotonic()

    def obey(self, command: dict[str, Any], connection: socket.socket) -> None:
        if self.behaviour == "deaf":
            return
        answer: dict[str, Any] = {"event": "reply", "id": command["id"], "ok": True}
        if command["command"] == "stop":
            self.stop_reason = command["reason"]
        elif command["command"] == "rate":
            self.rate = command
            answer["result"] = {"records_per_second": command.get("records_per_second", 0)}
        elif command["command"] == "drain_to":
            self.walls, self.cut_said = command["offsets"], False
        elif command["command"] in {"pause", "resume"}:
            self.paused = command["command"] == "pause"
        else:
            answer |= {"ok": False, "error": {"name": "bad_command", "message": f"no command {command['command']}", "fields": None}}
        self.say(answer, connection)

    def over(self) -> bool:
        with self.lock:
            alone = not self.listeners and time.monotonic() - self.alone_since > self.config["grace_seconds"]
        if alone:
            self.stop_reason = "nobody is connected"
        return self.stop_reason is not None

    def live(self) -> int:
        misbehave = getattr(self, f"do_{self.behaviour}", None)
        while not self.over():
            if misbehave is not None and (code := misbehave()) is not None:
                return int(code)
            if self.behaviour not in {"hangs", "never_ready"}:
                self.say(self.progress())
            self.say_cut()
            time.sleep(PROGRESS_SECONDS)
        self.say({"event": "stopped", "reason": self.stop_reason, "positions": {"0": self.copied}})
        return 0

    def say_cut(self) -> None:
        if self.walls is not None and not self.cut_said and self.copied == self.walls.get("0"):
            self.cut_said = True
            self.say({"event": "cut", "positions": {"0": self.copied}})

    def do_dies(self) -> int:
        sys.stderr.write("panic: index out of range\n")
        return 3

    def do_dies_once(self) -> int | None:
        marker = os.environ["FAKE_ENGINE_MARKER"]
        if os.path.exists(marker):
            return None
        with open(marker, "w"):
            return 3

    def do_fails(self) -> int:
        fault = {"name": os.environ["FAKE_ENGINE_FAULT"], "message": "as the test wants", "fields": {"topic": "orders"}}
        self.say({"event": "fatal", "error": fault})
        return 1

    def do_fails_on_stderr(self) -> int:
        fault = {"name": os.environ["FAKE_ENGINE_FAULT"], "message": "as the test wants"}
        sys.stderr.write(json.dumps({"event": "fatal", "error": fault}) + "\n")
        return 1

    def do_babbles(self) -> None:
        self.send(b"Segmentation fault? not json\n")

    def do_invents(self) -> None:
        self.say({"event": "surprise"})

    def do_floods(self) -> None:
        self.send(b"x" * ((4 << 20) + 1))

    def progress(self) -> dict[str, Any]:
        wall = TOTAL if self.walls is None else self.walls["0"]
        self.copied = max(self.copied, min(TOTAL, wall, self.copied + (0 if self.paused else 20)))
        return {
            "event": "progress",
            "at_ms": int(time.time() * 1000),
            "lanes": [
                {
                    "lane": 0,
                    "partitions": [0],
                    "transactional_id": "cutover.x.0.0",
                    "producer_id": 7,
                    "producer_epoch": 1,
                    "state": "copying",
                }
            ],
            "positions": {"0": self.copied},
            "committed": {"0": self.copied},
            "ends": {"0": TOTAL},
            "records": self.copied,
            "bytes": self.copied * 100,
            "records_per_second": 400,
            "bytes_per_second": 40000.5,
            "lag_records": TOTAL - self.copied,
            "lag_seconds": 0,
            "transactions": 1,
            "transaction_records_median": 20,
            "commit_ms_p50": 5,
            "commit_ms_p99": 9.5,
            "recoveries": 0,
            "foreign_provenance": 0,
            "resident_bytes": 1 << 20,
            "slowed_by": "the rate limit" if self.rate else "",
        }

    def say(self, event: dict[str, Any], to: socket.socket | None = None) -> None:
        self.send(json.dumps(event).encode() + b"\n", to)

    def send(self, line: bytes, to: socket.socket | None = None) -> None:
        with self.lock:
            listeners = [to] if to else list(self.listeners)
        for listener in listeners:
            try:
                listener.sendall(line)
            except OSError:
                continue


def main() -> int:
    if sys.argv[1] == "version":
        print(os.environ.get("FAKE_ENGINE_VERSION", "unknown"))
        return 0
    config = json.load(sys.stdin)
    behaviour = os.environ.get("FAKE_ENGINE", "works")
    if told := os.environ.get("FAKE_ENGINE_TOLD"):
        with open(told, "a") as file:
            file.write(json.dumps(config) + "\n")
    if behaviour == "never_listens":
        time.sleep(60)
    if behaviour == "refuses":
        sys.stderr.write('{"event":"fatal","error":{"name":"bad_configuration","message":"no socket"}}\n')
        return 2
    if behaviour == "slow":
        time.sleep(0.5)
    if behaviour == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return FakeEngine(config, behaviour, sys.argv[1]).run()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # its threads wait on sockets
