"""What a mirror as a whole has done, merged from its workers; pure.

Progress is measured against ends that were frozen at the start, so it cannot pass 100 % and does not run away from a busy topic.
"100 %" is not "ready": readiness is a field of its own, with its reasons.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cutover.engine.events import Progress
from cutover.engine.pair import Standing

READY_LAG_SECONDS = 1.0
RATE_WINDOW_SECONDS = 30.0
_UNSETTLED = frozenset({"recovering"})


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker as the mirror sees it; state is starting, running, silent or down."""

    name: str
    state: str
    pid: int | None
    lanes: tuple[int, ...]
    restarts: int
    records_per_second: float
    resident_bytes: int
    slowed_by: str


@dataclass(frozen=True, slots=True)
class MirrorStatus:
    """One moment of the whole mirror. Offsets count control records too; lag is that of every partition, held here or not; its
    seconds are None while records are left and no worker has told."""

    stage: str
    at_seconds: float
    done_offsets: int
    total_offsets: int
    records: int
    records_per_second: float
    bytes_per_second: float
    lag_records: int
    lag_seconds: float | None
    eta_seconds: float | None
    eta_basis: str
    not_ready_because: tuple[str, ...]
    workers: tuple[WorkerStatus, ...]
    slowed_by: tuple[str, ...]
    committed: Mapping[int, int]

    @property
    def ready(self) -> bool:
        """Whether nothing stands against relying on the follower being up to date."""
        return not self.not_ready_because

    @property
    def share(self) -> float:
        """The part that is done, 0 to 1."""
        return self.done_offsets / self.total_offsets if self.total_offsets else 1.0


@dataclass(slots=True)
class Board:
    """Collects what is known and sums it up. Positions only go forward; a worker that is gone counts for nothing but those."""

    standing: Standing
    committed: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    records_before: int = 0
    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def learn(self, committed: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Take over positions and ends, of a worker here or from the cluster."""
        for known, news in ((self.committed, committed), (self.ends, ends)):
            for partition, offset in news.items():
                known[partition] = max(offset, known.get(partition, 0))

    def caught_up(self) -> bool:
        """Whether every partition is committed up to its frozen end."""
        return all(self._position(partition) >= end for partition, end in self.standing.ends.items())

    def sum_up(self, now: float, workers: Iterable[tuple[WorkerStatus, Progress | None]], unseen: str = "") -> MirrorStatus:
        """The status now, with the last word of each worker; `unseen` says why a part of it may be old."""
        statuses, words = [], []
        for status, progress in workers:
            statuses.append(status)
            words += [progress] if progress is not None else []
        done, total = self._done(), sum(self._due(partition) for partition in self.standing.ends)
        rate = self._rate(now, done)
        lag_records = self._lag()
        lag_seconds = max((each.lag_seconds for each in words), default=None if lag_records else 0.0)
        return MirrorStatus(
            stage="following" if done == total else "copying history",
            at_seconds=now,
            done_offsets=done,
            total_offsets=total,
            records=self.records_before + sum(each.records for each in words),
            records_per_second=sum(each.records_per_second for each in words),
            bytes_per_second=sum(each.bytes_per_second for each in words),
            lag_records=lag_records,
            lag_seconds=lag_seconds,
            eta_seconds=(total - done) / rate if rate > 0 and done < total else (0.0 if done == total else None),
            eta_basis=f"mean of the last {self.seen[-1][0] - self.seen[0][0]:.0f} s" if rate > 0 else "no progress measured yet",
            not_ready_because=(*self._reasons(done, total, lag_seconds, statuses, words), *([unseen] if unseen else [])),
            workers=tuple(statuses),
            slowed_by=tuple(dict.fromkeys(each.slowed_by for each in words if each.slowed_by)),
            committed=dict(self.committed),
        )

    def _position(self, partition: int) -> int:
        return max(self.committed.get(partition, 0), self.standing.begins[partition])

    def _due(self, partition: int) -> int:
        return max(0, self.standing.ends[partition] - self.standing.begins[partition])

    def _done(self) -> int:
        begins, ends = self.standing.begins, self.standing.ends
        return sum(min(self._position(each), max(end, begins[each])) - begins[each] for each, end in ends.items())

    def _lag(self) -> int:
        latest = {**self.standing.ends, **self.ends}
        return sum(max(0, end - self._position(partition)) for partition, end in latest.items())

    def _rate(self, now: float, done: int) -> float:
        self.seen.append((now, done))
        while now - self.seen[0][0] > RATE_WINDOW_SECONDS and len(self.seen) > 1:
            self.seen.popleft()
        (since, before), span = self.seen[0], now - self.seen[0][0]
        return (done - before) / span if span > 0 and since < now else 0.0

    def _reasons(
        self, done: int, total: int, lag_seconds: float | None, statuses: Iterable[WorkerStatus], words: Iterable[Progress]
    ) -> Iterable[str]:
        if done < total:
            yield f"{total - done:,} of {total:,} offsets of the history are left"
        elif behind := _behind(lag_seconds):
            yield behind
        for status in statuses:
            if status.state != "running":
                yield f"worker {status.name} is {status.state}"
        for progress in words:
            for lane in progress.lanes:
                if lane.state in _UNSETTLED:
                    yield f"lane {lane.lane} is {lane.state}"


def _behind(lag_seconds: float | None) -> str:
    """Why the lag speaks against readiness, if it does."""
    if lag_seconds is None:
        return "no worker here has told how far behind it is"
    return f"it is {lag_seconds:.1f} s behind" if lag_seconds > READY_LAG_SECONDS else ""
