"""What the journal says of a run, folded: where it stands, what was found on the way, what was begun and not settled. Pure.

The journal is evidence and intent, not belief: what it says of the world is looked at again before anything rests on it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from cutover.lifecycle import Goal, Order, Stage, Standing

Body = Mapping[str, Any]


class Written(Protocol):
    """An entry of the journal, as far as it is read here."""

    @property
    def kind(self) -> str:
        """intent, outcome, state, decision or note."""

    @property
    def stage(self) -> str:
        """The stage it was written in."""

    @property
    def step(self) -> str:
        """The step it belongs to."""

    @property
    def body(self) -> Body:
        """Its JSON object."""


@dataclass(frozen=True, slots=True)
class History:
    """`facts` holds the last outcome of each step, `unsettled` the intents that have none."""

    standing: Standing
    facts: Mapping[str, Body] = field(default_factory=dict)
    unsettled: Mapping[str, Body] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    """How often each step was begun."""
    tries: Mapping[str, int] = field(default_factory=dict)
    """The same since it last succeeded, or since somebody ordered the run to go somewhere or to go on."""
    done: Mapping[str, int] = field(default_factory=dict)
    """How often each step succeeded; going back takes nothing away from it."""
    approvals: tuple[Body, ...] = ()
    ended: bool = False
    stages: Mapping[str, str] = field(default_factory=dict)
    """The stage that each fact belongs to: it is one no more once that stage was undone."""

    @classmethod
    def of(cls, order: Order, entries: Iterable[Written]) -> "History":
        """The history that these entries tell."""
        return cls(Standing(order)).then(*entries)

    def then(self, *entries: Written) -> "History":
        """After these entries more."""
        history = self
        for entry in entries:
            history = history._after(entry)
        return history

    def _after(self, entry: Written) -> "History":
        match entry.kind:
            case "state":
                return self._entered(entry.body)
            case "decision":
                approved = (entry.body["approval"],) if "approval" in entry.body else ()
                tries = {} if "goal" in entry.body or entry.body.get("paused") == "" else self.tries
                return replace(self, standing=_decided(self.standing, entry.body), approvals=self.approvals + approved, tries=tries)
            case "intent":
                counts, tries = ({**each, entry.step: each.get(entry.step, 0) + 1} for each in (self.counts, self.tries))
                return replace(self, unsettled={**self.unsettled, entry.step: entry.body}, counts=counts, tries=tries)
            case "outcome":
                left = {step: body for step, body in self.unsettled.items() if step != entry.step}
                if "failed" in entry.body:
                    return replace(self, unsettled=left)
                facts, stages = {**self.facts, entry.step: entry.body}, {**self.stages, entry.step: entry.stage}
                times = {**self.done, entry.step: self.done.get(entry.step, 0) + 1}
                tries = {step: count for step, count in self.tries.items() if step != entry.step}
                return replace(self, unsettled=left, facts=facts, stages=stages, done=times, tries=tries)
            case "ended":
                return replace(self, ended=True)
            case _:
                return self

    def _entered(self, body: Body) -> "History":
        moved = replace(self, standing=replace(self.standing, stage=Stage(body["stage"])))
        if body.get("trigger") != "go_back":
            return moved
        kept = {step: each for step, each in self.facts.items() if self.stages.get(step) != self.standing.stage}
        return replace(moved, facts=kept, unsettled={})


@dataclass(frozen=True, slots=True)
class Told:
    """An entry as a pair among several reads it."""

    kind: str
    stage: str
    step: str
    body: Body


def told_to(scope: str, entries: Iterable[Written]) -> Iterator[Written]:
    """What a pair takes in: the steps that begin with its scope, without it, and where the whole run stands. No scope: everything."""
    for entry in entries:
        if not scope or entry.kind in {"state", "decision", "ended"}:
            yield entry
        elif entry.step.startswith(scope):
            yield Told(entry.kind, entry.stage, entry.step.removeprefix(scope), entry.body)


def _decided(standing: Standing, body: Body) -> Standing:
    if "goal" in body:
        standing = replace(standing, goal=Goal(Stage(body["goal"]["to"]), back=bool(body["goal"]["back"])))
    if "paused" in body:
        standing = replace(standing, paused=str(body["paused"]))
    return standing
