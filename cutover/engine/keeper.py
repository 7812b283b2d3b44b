"""Keeps the mirror and the audit of the present epoch going on this host, for a run: what the log says runs, and nothing else.

Implements cutover.world.Keeper. Which epoch is in force is the control log's word; the flip is not decided here.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from cutover import partitioners
from cutover.connection import Connection
from cutover.engine import auditing, pair
from cutover.engine.audit_events import AuditProgress, Stragglers, Verdict, VerifiedCut
from cutover.engine.auditing import AuditConfiguration, Auditing, Happening
from cutover.engine.configuration import MirrorConfiguration, Rate, Start, Topic
from cutover.engine.crew import Crew, Restart
from cutover.engine.dual_auditing import DualAuditConfiguration, DualAuditing, DualHappening
from cutover.engine.dual_events import DualProgress, DualVerdict
from cutover.engine.events import Progress
from cutover.engine.status import Board, MirrorStatus
from cutover.engine.still import Still
from cutover.errors import EngineDied, EngineHung, StragglerFound, WallPassed
from cutover.model import Committed, Isolation, TopicPartition
from cutover.protocol import Cut, Mode, PairState
from cutover.run import Run
from cutover.world import Mirror, Stray, World

LOOK_SECONDS = 0.002
AUDIT_INTERVAL_MS = 500
MOST_AUDIT_RESTARTS = 5
PAST_SECONDS = 1.0
CLEARED = "audit_cleared"


def direction(state: PairState, epoch: int) -> tuple[str, str]:
    """Origin and follower of an epoch: `source` and `target`, by who was written in it."""
    return ("target", "source") if state.modes[epoch] is Mode.TARGET else ("source", "target")


def walled(ends: Callable[[], dict[int, int]], drain_to: Callable[[dict[int, int]], None], seconds: float) -> dict[int, int]:
    """Put walls at the ends of the origin while the workers are paused: a read under way when they were may have gone past the first."""
    deadline = time.monotonic() + seconds
    while True:
        found = ends()
        try:
            drain_to(found)
        except WallPassed:  # refused, and nothing has changed
            if time.monotonic() > deadline:
                raise
        else:
            return found


class PairKeeper:
    """The mirror and the audit of one run. Nothing is started before `keep`."""

    def __init__(self, world: World, connection: Connection) -> None:
        self._world = world
        self._connection = connection
        self._crew: Crew | None = None
        self._still = Still()
        self._epoch: int | None = None
        self._board: Board | None = None
        self._audit: Auditing | DualAuditing | None = None
        self._cut: VerifiedCut | None = None
        self._verdict: Verdict | DualVerdict | None = None
        self._audit_progress: AuditProgress | DualProgress | None = None
        self._audit_restarts = 0
        self._strays: list[Stray] = []
        """What was found on the old side, in the order of finding; an audit that begins anew finds it again."""
        self._seen_past: dict[TopicPartition, int] = {}
        self._looked_past = float("-inf")

    # The mirror.

    @property
    def copies(self) -> bool:
        """Whether the present epoch has a mirror.

        Producers that write both topics need none; a drain copies nothing before the flip, and nothing back without a way back.
        """
        plan = self._world.plan
        if plan.strategy == "drain":
            return self._world.paired and self._world.pair.epoch > 0 and plan.way_back != "none"
        return not self._dual

    @property
    def _dual(self) -> bool:
        """Whether producers write both topics."""
        return self._world.paired and self._world.pair.mode is Mode.DUAL

    @property
    def mirror(self) -> Mirror:
        """The workers of the present epoch; raises EngineDied when none was started."""
        return self._workers if self.copies else self._still

    @property
    def _workers(self) -> Crew:
        if self._crew is None:
            raise EngineDied("no mirror of this run was started by this driver", why="Its stage has not come yet, or it has none.")
        return self._crew

    @property
    def running(self) -> bool:
        """Whether the mirror of the epoch that the log says was started here, or none is due and those of others have ended."""
        return self._world.paired and self._epoch == self._world.pair.epoch and self.copies == (self._crew is not None)

    @property
    def ended(self) -> bool:
        """Whether this driver runs no mirror, and the run's end is written."""
        return self._crew is None and (not self._world.paired or self._world.fact("end_mirror") is not None)

    @property
    def auditing(self) -> bool:
        """Whether an audit runs."""
        return self._audit is not None

    @property
    def strays(self) -> Collection[Stray]:
        """The records of stragglers that the audit has found."""
        return tuple(self._strays)

    def keep(self, *, audit: bool = False) -> None:
        """Start what should run and does not."""
        if not self._world.paired:
            return
        if not self.running:
            self._begin_epoch()
        if audit and self._audit is None:
            self._begin_audit()

    def _begin_epoch(self) -> None:
        """End whatever runs for another epoch, shut its lanes out, and start the mirror of this one, if it has one.

        TARGET (or another word) is readable by now, so that a worker that starts anew finds out by itself; a fence ends the others.
        """
        state = self._world.pair
        self.end_audit()
        if self._crew is not None:
            self._crew.stop("another epoch has begun")
            self._crew, self._board = None, None
        fenced = self._fence(self._copied(state.epoch))
        self._epoch = state.epoch
        if self.copies:
            self._begin_mirror(state, fenced)
        elif fenced:
            self._world.record("note", "mirror", {"epoch": state.epoch, "workers": [], "fenced": fenced})

    def _begin_mirror(self, state: PairState, fenced: list[str]) -> None:
        configuration = self._mirror_configuration(state)
        described = pair.Pair(self._world.cluster_id, configuration.origin, configuration.follower, ())
        run = self._run(state.epoch)
        crew = Crew(configuration, self._world.plan.mirror.workers, prefix=f"e{state.epoch}")
        crew.ask_committed = lambda: pair.committed_positions(self._world.cluster, described, run)
        crew.start()
        self._crew = crew
        self._board = Board(pair.standing(self._world.cluster, described, run, configuration.start))
        self._world.record("note", "mirror", {"epoch": state.epoch, "workers": [each.name for each in crew.workers], "fenced": fenced})

    def _copied(self, until: int) -> list[int]:
        """The epochs below this one in which a mirror can have run."""
        plan, modes = self._world.plan, self._world.pair.modes
        if plan.strategy == "drain":
            return list(range(1, until)) if plan.way_back != "none" else []
        return [number for number in range(until) if modes[number] is not Mode.DUAL]

    def _fence(self, epochs: Collection[int]) -> list[str]:
        ids = [self._run(epoch).transactional_id(lane) for epoch in epochs for lane in range(self._lanes(epoch))]
        if ids:
            self._world.hand.fence(ids)
        return ids

    def _run(self, epoch: int) -> Run:
        return Run(self._world.mirror_name, self._world.run_id, epoch)

    def _lanes(self, epoch: int) -> int:
        origin, _ = self._sides(epoch)
        return min(origin.partitions, self._world.plan.mirror.lanes or pair.DEFAULT_LANES)

    def _sides(self, epoch: int) -> tuple[Topic, Topic]:
        state = self._world.pair
        names = [state.told.source.name, state.told.target.name]
        configs = self._world.cluster.topic_configs(names)
        topics = {
            side: Topic(
                name=told.name,
                id=told.id,
                partitions=told.partitions,
                max_message_bytes=int(configs[told.name]["max.message.bytes"].value or 0),
                compacted="compact" in (configs[told.name]["cleanup.policy"].value or ""),
            )
            for side, told in (("source", state.told.source), ("target", state.told.target))
        }
        origin, follower = direction(state, epoch)
        return topics[origin], topics[follower]

    def _formula(self, side: str) -> str:
        """The family that places keys on a side."""
        plan = self._world.plan
        return partitioners.family(plan.target_partitioner if side == "target" else plan.partitioner).name

    def _mirror_configuration(self, state: PairState) -> MirrorConfiguration:
        plan, run = self._world.plan, self._run(state.epoch)
        origin, follower = self._sides(state.epoch)
        start, follower_start = Start.parse(plan.history.mirror_start), {}
        if state.epoch:
            of = direction(state, state.epoch)
            vectors = {"source": dict(state.cuts[state.epoch].source), "target": dict(state.cuts[state.epoch].target)}
            start, follower_start = Start(kind="offsets", offsets=vectors[of[0]]), vectors[of[1]]
        return MirrorConfiguration(
            grace_seconds=plan.mirror.grace,
            connection=self._connection.engine(),
            run=run.name,
            run_id=run.run_id,
            epoch=state.epoch,
            group=run.group,
            origin=origin,
            follower=follower,
            partitioner=self._formula(direction(state, state.epoch)[1]),
            null_keys=plan.null_keys,
            start=start,
            lanes=self._lanes(state.epoch),
            rate=Rate.parse(plan.mirror.rate).shared_by(plan.mirror.workers),
            control_topic=self._world.log.topic,
            pair=state.pair,
            follower_start=follower_start,
        )

    def tick(self) -> None:
        """Hear what the processes say; raises what ends a run: a fault about the data, a red audit."""
        if self._crew is not None and self._board is not None:
            for happened in self._crew.poll():
                if isinstance(happened, Progress):
                    self._board.learn(happened.committed, happened.ends)
                elif isinstance(happened, Restart):
                    self._world.tell(f"mirror worker {happened.worker} died and is started again: {happened.because.what}")
        self._hear_audit()
        if self._world.plan.strategy == "drain" and not self.copies:
            self._look_past_the_cut()

    def _look_past_the_cut(self) -> None:
        """Where no audit follows the old side, whatever is on S past the cut is a straggler's. Looked at once a second."""
        if not self._world.paired or not self._world.pair.epoch or time.monotonic() - self._looked_past < PAST_SECONDS:
            return
        self._looked_past = time.monotonic()
        source = self._world.pair.told.source
        where = [TopicPartition(source.name, number) for number in range(source.partitions)]
        begun = self._seen_past or {TopicPartition(source.name, p): offset for p, offset in self._world.pair.cuts[1].source.items()}
        ends = self._world.cluster.end_offsets(where, Isolation.READ_COMMITTED)
        spans = {at: (begun[at], end) for at, end in ends.items() if end > begun[at]}
        records = self._world.reader.read(spans) if spans else ()
        found = [Stray(each.topic, each.partition, each.offset, each.timestamp_ms, -1) for each in records]
        self._seen_past = {**begun, **ends}
        if found:
            self._strays += found
            self._world.tell(f"{len(found)} records of stragglers on {source.name}, {len(self._strays)} in all")

    def _status(self) -> MirrorStatus | None:
        if self._crew is None or self._board is None:
            return None
        self._board.records_before = self._crew.copied_by_the_dead
        return self._board.sum_up(time.monotonic(), self._crew.statuses())

    def lag_seconds(self) -> float | None:
        """How far the follower is behind; None while workers have not told or hold not everything."""
        if not self.copies:
            return 0.0
        status = self._status()
        if status is None or self._crew is None:
            return None
        told = self._crew.held_partitions() == frozenset(range(self._crew.configuration.origin.partitions))
        recovering = any(lane.state == "recovering" for _, each in self._crew.statuses() if each for lane in each.lanes)
        return status.lag_seconds if told and not recovering and status.done_offsets >= status.total_offsets else None

    def words(self) -> str:
        """How the mirror is, for people."""
        if not self.copies:
            return "nothing is copied" if not self._dual else "nothing is copied: producers write both topics"
        status = self._status()
        if status is None:
            return "it is starting"
        reasons = status.not_ready_because
        lag = "" if status.lag_seconds is None else f", {status.lag_seconds:.1f} s behind"
        return f"{status.done_offsets:,} of {status.total_offsets:,} offsets{lag}{': ' + reasons[0] if reasons else ''}"

    def barrier(self, seconds: float) -> Cut:
        """A cut while producers go on: the mirror stands still at the primary's end until the follower's is read."""
        crew, deadline = self._workers, time.monotonic() + seconds
        origin, follower = crew.configuration.origin, crew.configuration.follower
        crew.pause()
        try:
            ends = walled(lambda: self._ends(origin, Isolation.READ_COMMITTED), crew.drain_to, seconds)
        finally:
            crew.resume()
        try:
            if crew.wait_drained(seconds) != ends:
                raise EngineHung("the mirror did not reach a cut in time", worker="mirror", cut=len(ends))
            stands = self._ends(follower, Isolation.READ_UNCOMMITTED)
            while stands != self._ends(follower, Isolation.READ_COMMITTED):
                if time.monotonic() > deadline:
                    raise EngineHung(f"a transaction on {follower.name} stays open", worker="mirror")
                stands = self._ends(follower, Isolation.READ_UNCOMMITTED)
        finally:
            crew.drain_to(None)
        of = {origin.name: ends, follower.name: stands}
        told = self._world.pair.told
        return Cut(source=of[told.source.name], target=of[told.target.name])

    def _ends(self, topic: Topic, isolation: Isolation) -> dict[int, int]:
        where = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        return {each.partition: end for each, end in self._world.cluster.end_offsets(where, isolation).items()}

    def limit(self, rate: str) -> str:
        """Set the mirror's rate limit while it runs."""
        limit = Rate.parse(rate)
        self._workers.limit(limit)
        return f"the mirror is limited to {limit}"

    def end(self, why: str) -> list[str]:
        """End both for good and shut out every lane that the run ever had."""
        self.end_audit()
        if self._crew is not None:
            self._crew.stop(why)
        self._crew, self._epoch, self._board = None, None, None
        return self._fence(self._copied(self._world.pair.epoch + 1)) if self._world.paired else []

    def leave(self) -> None:
        """Leave the workers running for their grace time; the audit ends, it holds nothing."""
        self.end_audit()
        if self._crew is not None:
            self._crew.detach()
            self._crew = None

    # The audit.

    def _begin_audit(self) -> None:
        """Start the judge of the present epoch, as soon as there is something to judge."""
        if self._dual:
            self._audit = DualAuditing(self._dual_configuration())
        elif self.copies and self._has_committed():
            self._audit = Auditing(self._audit_configuration())

    def _dual_configuration(self) -> DualAuditConfiguration:
        state, plan = self._world.pair, self._world.plan
        source, target = self._sides(state.epoch)
        cut, cleared = state.cuts[state.epoch], self._cleared(state.epoch)
        return DualAuditConfiguration(
            connection=self._connection.engine(),
            source=source,
            target=target,
            source_from=cleared["source"] if cleared else dict(cut.source),
            target_from=cleared["target"] if cleared else dict(cut.target),
            source_partitioner=self._formula("source"),
            target_partitioner=self._formula("target"),
            stamps="optional" if any(each.switch_kind == "own_dual_write" for each in plan.producers) else "required",
            patience_ms=round(plan.budgets.audit_age * 1000),
            follow=True,
            interval_ms=AUDIT_INTERVAL_MS,
        )

    def _audit_configuration(self) -> AuditConfiguration:
        state, plan = self._world.pair, self._world.plan
        origin, follower = self._sides(state.epoch)
        cut = state.cuts.get(state.epoch)
        of = direction(state, state.epoch)
        begun = {} if cut is None else {"source": cut.source, "target": cut.target}[of[1]]
        cleared = self._cleared(state.epoch)
        return AuditConfiguration(
            connection=self._connection.engine(),
            run_id=self._world.run_id,
            epoch=state.epoch,
            group=self._run(state.epoch).group,
            origin=origin,
            follower=follower,
            partitioner=self._formula(of[1]),
            origin_partitioner=self._formula(of[0]),
            null_keys=plan.null_keys,
            stragglers="report" if state.epoch else "violation",
            follow=True,
            interval_ms=AUDIT_INTERVAL_MS,
            from_=cleared[of[0]] if cleared else None,
            follower_from=cleared[of[1]] if cleared else dict(begun) or None,
            ended_groups=tuple(self._run(epoch).group for epoch in self._copied(state.epoch)) or None,
        )

    def _has_committed(self) -> bool:
        """The audit needs a position of the mirror on every partition."""
        configuration = self._workers.configuration
        where = [TopicPartition(configuration.origin.name, p) for p in range(configuration.origin.partitions)]
        group = configuration.group
        told = self._world.cluster.committed([group], where)[group]
        return all(isinstance(each, Committed) for each in told.values())  # one that is pending may come to nothing

    def _hear_audit(self) -> None:
        if self._audit is None:
            return
        try:
            for happened in self._audit.happenings(0):
                self._note(happened)
        except (EngineDied, EngineHung) as error:
            self._lose_audit(error)

    def _note(self, happened: Happening | DualHappening) -> None:
        if isinstance(happened, AuditProgress | DualProgress):
            self._audit_progress = happened
        elif isinstance(happened, VerifiedCut):
            self._cut = happened
        elif isinstance(happened, Stragglers):
            told = (Stray(happened.topic, each.partition, each.offset, each.timestamp_ms, each.producer_id) for each in happened.records)
            self._strays += [each for each in told if each not in self._strays]
            self._world.tell(f"{happened.count} records of stragglers on {happened.topic}, {happened.total} in all since this audit began")
        else:
            self._verdict = happened
            if isinstance(happened, DualVerdict) and happened.standing != "violated":
                return  # records whose counterpart is on its way are in doubt, and nothing else is
            state = self._world.pair
            names = {"source": state.told.source.name, "target": state.told.target.name}
            origin, follower = direction(state, state.epoch)
            auditing.require_proved(happened, names[origin], names[follower])

    def _lose_audit(self, error: EngineDied | EngineHung) -> None:
        """A dead audit proves nothing; a new one begins at the epoch's start."""
        self._audit_restarts += 1
        self._world.tell(f"the audit died and begins anew: {error.what}")
        self.end_audit()
        if self._audit_restarts > MOST_AUDIT_RESTARTS:
            raise error

    def audit_age_seconds(self) -> float | None:
        """The age of the last verified cut of this epoch; nothing that is not copied needs one."""
        if not self.copies and not self._dual:
            return 0.0
        return None if self._cut is None else max(0.0, time.time() - self._cut.at_ms / 1000)

    def audit_words(self) -> str:
        """How the audit is, for people."""
        if self._audit is None:
            return "it is starting"
        at = self._audit_progress
        if at is None:
            return "it has begun to read"
        left = "" if at.eta_seconds < 0 else f", about {at.eta_seconds:.0f} s left"
        return f"{at.offsets_done:,} of {at.offsets_total:,} offsets, {at.records_per_second:,.0f} records/s{left}"

    def verify(self, cut: Cut, seconds: float) -> bool:
        """Have exactly this cut proved; raises AuditViolation, and StragglerFound where T must be empty and is not."""
        if not self.copies and not self._dual:
            return self._is_empty(cut)
        audit, deadline = self._audit, time.monotonic() + seconds
        if audit is None:
            return False
        of = direction(self._world.pair, self._world.pair.epoch)
        wanted = {"source": dict(cut.source), "target": dict(cut.target)}
        while (left := deadline - time.monotonic()) > 0:
            self._judge(audit, cut, left)
            self._hear_audit()
            proved = self._cut
            if proved is not None and proved.exact and proved.origin == wanted[of[0]] and proved.follower == wanted[of[1]]:
                return True
            time.sleep(LOOK_SECONDS)
        return False

    def _judge(self, audit: Auditing | DualAuditing, cut: Cut, seconds: float) -> None:
        """Have the judge look now; one that no mirror tells where to end is told."""
        if isinstance(audit, DualAuditing):
            audit.judge(cut.source, cut.target, seconds)
        else:
            audit.judge_now(seconds)

    def _is_empty(self, cut: Cut) -> bool:
        """A drain's first cut: everything is on S, and nothing on T."""
        written = {p: offset for p, offset in cut.target.items() if offset}
        if written:
            name = self._world.pair.told.target.name
            raise StragglerFound(
                f"somebody has written {name} before the writes were switched: {sum(written.values()):,} offsets",
                why="A drain begins on an empty topic, so that what is there can only come from the producers of the plan.",
                advice="Find the writer; then roll back to approved, which deletes the target, and go on.",
                partitions=sorted(written),
            )
        return True

    def clear(self, reason: str, cut: Cut) -> str:
        """Somebody takes responsibility for what a red audit found: it begins anew at this cut."""
        vectors = {
            name: {str(p): offset for p, offset in vector.items()} for name, vector in (("source", cut.source), ("target", cut.target))
        }
        self._world.record("outcome", CLEARED, {"epoch": self._world.pair.epoch, "cut": vectors, "reason": reason})
        self.end_audit()
        self._verdict = None
        return f"the verdict is cleared ({reason}); the audit begins anew from here, what was found stays in the journal"

    def _cleared(self, epoch: int) -> dict[str, dict[int, int]] | None:
        """The cut from which the audit judges, once a person cleared what lay before."""
        found = self._world.fact(CLEARED)
        if found is None or found["epoch"] != epoch:
            return None
        return {name: {int(p): offset for p, offset in vector.items()} for name, vector in found["cut"].items()}

    def end_audit(self) -> None:
        """End the audit."""
        if self._audit is not None:
            self._audit.stop("its driver is done with it")
        self._audit, self._cut, self._audit_progress = None, None, None

    def document(self) -> Mapping[str, Any]:
        """How both are, as JSON values."""
        status = self._status()
        audit = {
            "audit_age_seconds": self.audit_age_seconds(),
            "audit_standing": self._verdict.standing if self._verdict is not None else None,
        }
        if status is None:
            return {"epoch": self._epoch, **audit} if self._dual else {}
        return {
            "epoch": self._epoch,
            "done": status.done_offsets,
            "total": status.total_offsets,
            "records": status.records,
            "records_per_second": round(status.records_per_second, 1),
            "lag_records": status.lag_records,
            "lag_seconds": status.lag_seconds,
            "eta_seconds": status.eta_seconds if status.done_offsets < status.total_offsets else None,
            "eta_basis": status.eta_basis,
            "slowed_by": list(status.slowed_by),
            "workers": [each.name for each in status.workers],
            **audit,
        }
