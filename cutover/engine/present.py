"""The workers of a run that are on this host, whoever started them: ask how they are, change their limit."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from cutover.engine import runtime
from cutover.engine.configuration import Rate
from cutover.engine.events import Progress
from cutover.engine.process import EngineProcess
from cutover.errors import EngineDied, NoWorkers

ANSWER_SECONDS = 5.0


@contextmanager
def workers(run: str) -> Iterator[tuple[EngineProcess, ...]]:
    """Connect to every worker of the run here and leave them running; raises NoWorkers when there is none."""
    found: list[EngineProcess] = []
    try:
        for socket in runtime.sockets(run):
            try:
                found.append(EngineProcess.adopt(socket, ready_seconds=ANSWER_SECONDS))
            except EngineDied:
                continue  # a leftover, removed by adopt
        if not found:
            raise NoWorkers(f"no worker of the run {run} is on this host", why="None of its sockets answers.", run=run)
        yield tuple(found)
    finally:
        for process in found:
            process.detach()


def progress(run: str) -> Mapping[str, tuple[int | None, Progress]]:
    """The process id and the progress of each worker, by name."""
    with workers(run) as found:
        return {each.name: (each.pid, each.wait_for(Progress, ANSWER_SECONDS)) for each in found}


def limit(run: str, rate: Rate) -> tuple[str, ...]:
    """Share the limit among the workers here, and keep it for those that are started again; the names of those that took it."""
    with workers(run) as found:
        share = rate.shared_by(len(found))
        runtime.remember_rate(run, share)
        for each in found:
            each.request("rate", **share.model_dump())
        return tuple(each.name for each in found)
