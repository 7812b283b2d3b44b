"""Our mirror: engine processes in the role of a worker, driven as `cutover mirror` drives them."""

import contextlib
import time
import uuid
from collections.abc import Iterator

from cutover.engine.configuration import MirrorConfiguration, Start, Topic
from cutover.engine.process import EngineProcess
from cutover.run import Run
from tests.bench.copies import Copy, observe
from tests.bench.ground import Ground

LANES = 4
TAKE_SECONDS = 30


def configuration(ground: Ground, origin: Topic, follower: Topic, lanes: int = LANES) -> MirrorConfiguration:
    """What each worker of a new run over the pair is told."""
    run = Run.of(f"bench-{uuid.uuid4().hex[:8]}", origin.id, follower.id)
    return MirrorConfiguration(
        connection={"bootstrap_servers": [ground.bootstrap], "security_protocol": "plaintext"},
        run=run.name, run_id=run.run_id, group=run.group, origin=origin, follower=follower,
        partitioner="murmur2", null_keys="keep_partition", start=Start(), lanes=min(lanes, origin.partitions),
    )  # fmt: skip


def copy(ground: Ground, config: MirrorConfiguration, records: int, workers: int) -> Copy:
    """Copy what is there once."""
    return observe(ground, config.origin, config.follower, config.group, records, _copying(config, workers))


@contextlib.contextmanager
def crew(config: MirrorConfiguration, workers: int) -> Iterator[list[EngineProcess]]:
    """Workers of one run."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(EngineProcess.start("mirror", config.model_copy(update={"worker": f"w{each}"}))) for each in range(workers)
        ]


@contextlib.contextmanager
def _copying(config: MirrorConfiguration, workers: int) -> Iterator[list[int]]:
    with crew(config, workers) as started:
        if workers > 1:
            _share(started, config.lanes)
        yield [each.pid or 0 for each in started]


def _share(started: list[EngineProcess], lanes: int) -> None:
    """Hold the workers until each has its part of the lanes: else the first one has copied much before the second has joined."""
    for worker in started:
        worker.request("pause", seconds=TAKE_SECONDS)
    for worker in started:
        wait_taken(worker, lanes // len(started))
    for worker in started:
        worker.request("resume")


def wait_taken(worker: EngineProcess, lanes: int) -> None:
    """Until the worker holds so many lanes, ready to copy."""
    deadline = time.monotonic() + TAKE_SECONDS
    while sum(each["state"] == "copying" for each in worker.request("status")["lanes"] or ()) != lanes:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{worker.name} does not hold {lanes} lanes after {TAKE_SECONDS} s")
        time.sleep(0.02)
