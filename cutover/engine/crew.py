"""The workers of one mirror on this host: started together, watched, started again when they die, stopped together.

A worker that dies harms nothing: the next one fences it, recovers from the follower's log and goes on. So it is started again,
with growing pauses, and only given up when it keeps dying. A fault that says something about the data ends the mirror at once.
"""

import contextlib
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cutover.engine import binary, runtime
from cutover.engine.configuration import MirrorConfiguration, Rate
from cutover.engine.events import Cut, Event, Progress, Ready
from cutover.engine.faults import PASSING
from cutover.engine.process import EngineProcess
from cutover.engine.status import WorkerStatus
from cutover.errors import CutoverError, EngineBabbling, EngineDied, EngineHung, NoBroker, WorkersKeepDying
from cutover.run import Run

MOST_RESTARTS = 5
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
CUT_SECONDS = 0.001
ASK_SECONDS = 0.02
TELL_SECONDS = 1.0
KILL_SILENT_SECONDS = 45.0
"""A silent worker is ended after this: longer than its transaction timeout, so that a stopped one may come back by itself."""


REPLACEABLE = (EngineDied, EngineBabbling, EngineHung)
"""What can be wrong with a process and not with the data."""


@dataclass(frozen=True, slots=True)
class Restart:
    """A worker died and will be started again."""

    worker: str
    because: CutoverError
    restarts: int
    pause_seconds: float


@dataclass(slots=True)
class Worker:
    """One place in the crew: whoever fills it now, and its history."""

    name: str
    process: EngineProcess | None = None
    progress: Progress | None = None
    restarts: int = 0
    total_restarts: int = 0
    start_at: float = 0.0
    healthy_since: float | None = None
    silent: bool = False

    def status(self) -> WorkerStatus:
        """This worker as an operator sees it."""
        last = self.progress
        return WorkerStatus(
            name=self.name,
            state=self._state(),
            pid=self.process.pid if self.process else None,
            lanes=tuple(each.lane for each in last.lanes) if last else (),
            restarts=self.total_restarts,
            records_per_second=last.records_per_second if last else 0.0,
            resident_bytes=last.resident_bytes if last else 0,
            slowed_by=last.slowed_by if last else "",
        )

    def _state(self) -> str:
        if self.process is None:
            return "down"
        if self.silent:
            return "silent"
        return "running" if self.progress else "starting"


@dataclass(slots=True)
class Crew:
    """All workers of the mirror on this host."""

    configuration: MirrorConfiguration
    size: int
    engine: Path | None = None
    clock: Callable[[], float] = time.monotonic
    workers: list[Worker] = field(default_factory=list)
    copied_by_the_dead: int = 0
    cuts: dict[int, int] = field(default_factory=dict)
    """Where workers said that they stand at their walls."""
    prefix: str = ""
    """Begins the names of the workers; with one, those that a former driver left under it are adopted, and others are stopped."""
    ask_committed: Callable[[], Mapping[int, int]] | None = None
    """Tells what is committed where no worker of this host holds the partition."""

    def start(self) -> None:
        """Adopt the workers that are there, start those that are missing.

        What one of them cannot do for good is raised, and the others are stopped.
        """
        self.engine = self.engine or binary.find()
        binary.check_version(self.engine)
        if not list(runtime.sockets(self.configuration.run)):
            runtime.forget_rate(self.configuration.run)
        self.workers = self._adopted() if self.prefix else []
        taken = {worker.name for worker in self.workers}
        names = (f"{self.prefix}w{number}-{os.getpid()}" for number in itertools.count(1))
        free = (name for name in names if name not in taken)
        self.workers += [Worker(next(free)) for _ in range(len(self.workers), self.size)]
        try:
            for worker in self.workers:
                if worker.process is None:
                    self._start(worker)
        except BaseException:
            self.stop("a worker could not be started")
            raise

    def _adopted(self) -> list[Worker]:
        """The workers that a former driver left; those of another epoch, and those too many, are told to stop."""
        found: list[Worker] = []
        for socket in runtime.sockets(self.configuration.run):
            try:
                process = EngineProcess.adopt(socket)
                if len(found) < self.size and process.name.startswith(f"{self.prefix}w"):
                    process.request("drain_to", offsets=dict(self.configuration.walls) or None)
                    process.request("resume")
                    found.append(Worker(process.name, process, healthy_since=self.clock()))
                else:
                    process.stop("the driver has no use for it")
            except REPLACEABLE:
                continue  # it is gone, or whoever takes its lanes fences it
        return found

    def drain_to(self, walls: Mapping[int, int] | None) -> None:
        """Put walls, for the workers that are there and those that will be started in their place; None takes them away."""
        self.configuration = self.configuration.model_copy(update={"walls": dict(walls or {})})
        self.cuts.clear()
        self._tell("drain_to", offsets=None if walls is None else {str(p): offset for p, offset in walls.items()})

    def wait_drained(self, seconds: float) -> dict[int, int]:
        """The positions committed at the walls, as soon as there is one for each; what there is when the time is over."""
        began = self.clock()
        ask_at = began + ASK_SECONDS
        while self.cuts != self.configuration.walls and self.clock() - began < seconds:
            for _ in self.poll():
                pass
            if self.clock() >= ask_at:
                self._ask_elsewhere()
                ask_at = self.clock() + ASK_SECONDS
            time.sleep(CUT_SECONDS)
        return dict(self.cuts)

    def _ask_elsewhere(self) -> None:
        """Where other hosts hold partitions, what is committed says that they stand at their walls."""
        walls = self.configuration.walls
        elsewhere = walls.keys() - self.cuts.keys() - self.held_partitions()
        if self.ask_committed is not None and elsewhere:
            committed = self.ask_committed()
            self.cuts |= {p: walls[p] for p in elsewhere if committed.get(p) == walls[p]}

    def pause(self) -> None:
        """Let the workers copy nothing more for now."""
        self._tell("pause")

    def resume(self) -> None:
        """Let them go on."""
        self._tell("resume")

    def limit(self, rate: Rate) -> None:
        """Share a limit among the workers here, and those that will be started in their place."""
        share = rate.shared_by(max(1, len(self.workers)))
        runtime.remember_rate(self.configuration.run, share)
        self._tell("rate", **share.model_dump())

    def _tell(self, command: str, **arguments: object) -> None:
        """Tell all at once. Who is gone is started again with what holds then, who is stopped hears it when it goes on."""
        asked = []
        for worker in self.workers:
            if worker.process is not None:
                with contextlib.suppress(*REPLACEABLE):
                    asked.append((worker.process, worker.process.ask(command, **arguments)))
        for process, number in asked:
            with contextlib.suppress(*REPLACEABLE):
                process.answer(command, number, TELL_SECONDS)

    @property
    def lane_ids(self) -> tuple[str, ...]:
        """The transactional ids of all lanes of the epoch, whoever holds them."""
        told = self.configuration
        run = Run(told.run, told.run_id, told.epoch)
        return tuple(run.transactional_id(lane) for lane in range(told.lanes))

    @property
    def positions(self) -> dict[int, int]:
        """What the workers here have committed, as they last said."""
        return {p: offset for worker in self.workers if worker.progress for p, offset in worker.progress.committed.items()}

    @property
    def lag_records(self) -> int | None:
        """Records that wait to be copied; None while workers here do not hold everything, or one has not said yet."""
        return sum(each.lag_records for each in self._all_told()) if self._whole() else None

    @property
    def lag_seconds(self) -> float | None:
        """The age of the newest record copied where the follower is furthest behind; None like `lag_records`."""
        return max((each.lag_seconds for each in self._all_told()), default=0.0) if self._whole() else None

    def _all_told(self) -> list[Progress]:
        return [worker.progress for worker in self.workers if worker.progress is not None]

    def _whole(self) -> bool:
        return self.held_partitions() == frozenset(range(self.configuration.origin.partitions))

    def poll(self) -> Iterator[Event | Restart]:
        """What has happened since the last call. Raises what ends the mirror."""
        for worker in self.workers:
            if worker.process is not None:
                yield from self._hear(worker, worker.process)
            elif self.clock() >= worker.start_at:
                yield from self._start_again(worker)

    def statuses(self) -> list[tuple[WorkerStatus, Progress | None]]:
        """Each worker with its last word; a dead one has none."""
        return [(worker.status(), worker.progress) for worker in self.workers]

    def held_partitions(self) -> frozenset[int]:
        """The origin partitions that workers of this host hold."""
        return frozenset(each for worker in self.workers if worker.progress for each in worker.progress.positions)

    def abandoned(self) -> bool:
        """Whether every worker was told by somebody else to stop."""
        return all(worker.process is None and worker.start_at == math.inf for worker in self.workers)

    def stop(self, reason: str) -> None:
        """Ask every worker to finish its transaction and end; then see to it that it has."""
        running = [worker.process for worker in self.workers if worker.process is not None]
        for process in running:
            process.ask_to_stop(reason)
        for process in running:
            process.stop(reason)

    def detach(self) -> None:
        """Leave the workers running; each ends itself after its grace time."""
        for worker in self.workers:
            if worker.process is not None:
                worker.process.detach()

    def _start(self, worker: Worker) -> None:
        rate = runtime.remembered_rate(self.configuration.run) or self.configuration.rate
        config = self.configuration.model_copy(update={"worker": worker.name, "rate": rate})
        worker.process = EngineProcess.start("mirror", config, engine=self.engine)
        worker.progress, worker.silent, worker.healthy_since = None, False, None

    def _hear(self, worker: Worker, process: EngineProcess) -> Iterator[Event | Restart]:
        try:
            for event in process.events(0):
                self._note(worker, event)
                yield event
        except EngineHung as error:
            worker.silent = True
            if error.fields.get("silent_seconds", 0) > KILL_SILENT_SECONDS:
                yield self._lose(worker, error)
        except CutoverError as error:
            yield self._lose(worker, error)
        if process.ended:  # somebody else asked it to stop: it is not started again
            process.stop("it has ended")
            worker.process, worker.progress, worker.start_at = None, None, math.inf

    def _note(self, worker: Worker, event: Event) -> None:
        worker.silent = False
        if isinstance(event, Ready):
            worker.healthy_since = self.clock()
        if isinstance(event, Cut):
            self.cuts |= event.positions
        if isinstance(event, Progress):
            worker.progress = event
            if worker.healthy_since is not None and self.clock() - worker.healthy_since > HEALTHY_SECONDS:
                worker.restarts = 0

    def _start_again(self, worker: Worker) -> Iterator[Restart]:
        try:
            self._start(worker)
        except CutoverError as error:
            yield self._lose(worker, error)

    def _lose(self, worker: Worker, error: CutoverError) -> Restart:
        """Plan its restart; raises the error itself when starting again is no remedy."""
        never_reached = isinstance(error, NoBroker) and worker.healthy_since is None and not worker.total_restarts
        if never_reached or not (isinstance(error, REPLACEABLE) or error.fields.get("fault") in PASSING):
            raise error
        self.copied_by_the_dead += worker.progress.records if worker.progress else 0
        if worker.process is not None:
            worker.process.kill()
        worker.process, worker.progress = None, None
        if worker.restarts >= MOST_RESTARTS:
            raise WorkersKeepDying(
                f"worker {worker.name} died {worker.restarts + 1} times, the last time: {error.what}",
                why=error.why,
                advice=error.next,
                worker=worker.name,
                restarts=worker.restarts,
                last=error.document(),
            ) from error
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**worker.restarts)
        worker.restarts += 1
        worker.total_restarts += 1
        worker.start_at = self.clock() + pause
        return Restart(worker.name, error, worker.total_restarts, pause)
