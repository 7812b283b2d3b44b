"""The gate for init containers and readiness checks: whether a group's members may start on a topic, told from the cluster alone.

It is open once the control log says that the group reads the topic, or when no member is left on the other one and every position
bears the final mark of this stay. Needs no journal; the driver that writes the marks must run.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cutover.errors import ControlUnreadable
from cutover.marks import Mark
from cutover.model import Committed, Member, TopicPartition
from cutover.ports import Cluster
from cutover.protocol import ControlState, PairState, Side, UnreadableRecordError, parse

MANY = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks: a group, the topic that its members are to start on, and the run that moves it."""

    group: str
    topic: str
    run: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether they may start, and why (not)."""

    open: bool
    why: str

    def document(self) -> dict[str, object]:
        """The answer as a JSON object."""
        return {"schema_version": 1, "ready": self.open, "why": self.why}


@dataclass(slots=True)
class Gate:
    """Asks about one group. `hear` gives the records of the control log that have come since."""

    cluster: Cluster
    hear: Callable[[], Iterable[tuple[int, bytes | None]]]
    asked: Asked
    _log: ControlState = field(default_factory=ControlState)

    def answer(self) -> Answer:
        """Whether the group may start now. Raises what the cluster says, and ControlUnreadable."""
        for offset, value in self.hear():
            try:
                self._log = self._log.then(offset, parse(value))
            except UnreadableRecordError as error:
                raise ControlUnreadable(f"record {offset} of the control log is none of the protocol's", why=str(error)) from error
        pair = self._pair()
        if pair is None:
            return Answer(False, f"the control log knows no open pair of the run {self.asked.run} with the topic {self.asked.topic}")
        return judge(self.cluster, pair, self.asked)

    def _pair(self) -> PairState | None:
        of_run = (each for each in self._log.pairs.values() if each.told.run == self.asked.run and not each.closed)
        named = (each for each in of_run if self.asked.topic in {each.told.source.name, each.told.target.name})
        return max(named, key=lambda each: each.at, default=None)


def judge(cluster: Cluster, pair: PairState, asked: Asked) -> Answer:
    """Whether the group may start on the topic: members first, so that whatever they commit later is not missed."""
    to = Side.TARGET if pair.told.target.name == asked.topic else Side.SOURCE
    state = pair.group(asked.group)
    if state.side is to:
        return Answer(True, f"the control log says that {asked.group} reads {asked.topic}")
    left = [each for each in cluster.describe_groups([asked.group])[asked.group].members or () if _reads(each, pair.topic(to.other).name)]
    if left:
        return Answer(False, f"{_names(left)} still reads {pair.topic(to.other).name}")
    found = cluster.describe_topics([asked.topic])[asked.topic]
    if found.topic_id != pair.topic(to).id:
        return Answer(False, f"{asked.topic} is another topic than the pair's")
    where = found.topic_partitions()
    decided = cluster.decided(asked.group, where)
    waiting = [each for each in where if not _is_final(decided[each], pair.pair, state.moves)]
    return Answer(not waiting, _why(asked, waiting))


def _reads(member: Member, topic: str) -> bool:
    return member.holds(topic) or topic in (member.subscribed or ())


def _is_final(position: Committed | None, run: str, stay: int) -> bool:
    mark = Mark.of(position.metadata) if position is not None else None
    return mark is not None and mark.final and (mark.run, mark.stay) == (run, stay)


def _why(asked: Asked, waiting: list[TopicPartition]) -> str:
    if not waiting:
        return f"nobody is left, and the last positions of {asked.group} are written on every partition of {asked.topic}"
    return f"the last positions of {asked.group} are not written yet on {len(waiting)} partitions of {asked.topic}"


def _names(members: list[Member]) -> str:
    names = sorted({f"{each.client_id or each.member_id} at {each.host}" for each in members})
    return ", ".join(names[:MANY]) + (f" and {len(names) - MANY} more" if len(names) > MANY else "")
