"""What a hook is, what it is told, and what came of a call: values alone, nothing is run here.

An exit code or an HTTP status is what the hook says of itself. What is true is seen in the cluster, by others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from cutover.errors import HookUnusable
from cutover.plan import Hook
from cutover.protocol import Side, Topic

Verb = Literal["stop_source", "start_target", "stop_target", "start_source", "check"]
VERBS: tuple[Verb, ...] = ("stop_source", "start_target", "stop_target", "start_source")
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class HookSpec:
    """Commands by verb, or one address that every verb is posted to. `secret` is a reference: env:NAME or file:/path."""

    commands: Mapping[Verb, tuple[str, ...]] = field(default_factory=dict)
    url: str | None = None
    secret: str | None = None
    timeout_seconds: float = 60.0
    env: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    """Where commands run; None: where the driver does."""

    @classmethod
    def of(cls, hook: Hook) -> Self:
        """The hook of a plan."""
        named: dict[Verb, tuple[str, ...] | None] = {
            "stop_source": hook.stop_source,
            "start_target": hook.start_target,
            "stop_target": hook.stop_target,
            "start_source": hook.start_source,
            "check": hook.check,
        }
        commands = {verb: command for verb, command in named.items() if command is not None}
        return cls(commands, hook.url, hook.secret, hook.timeout, dict(hook.env))

    @property
    def can_check(self) -> bool:
        """Whether it can say if its subject runs; an address is always asked."""
        return self.url is not None or "check" in self.commands

    def command(self, verb: Verb) -> tuple[str, ...]:
        """The command of a verb; raises HookUnusable where the plan has none."""
        found = self.commands.get(verb)
        if found is None:
            raise HookUnusable(f"the plan gives no command for {verb}", why="It was not needed until now.", verb=verb)
        return found


@dataclass(frozen=True, slots=True)
class Counterpart:
    """Another pair, and where a group goes on there."""

    source: Topic
    target: Topic
    positions: Mapping[int, int] | None = None

    def topic(self, side: Side) -> Topic:
        """The topic of a side."""
        return self.source if side is Side.SOURCE else self.target

    def document(self) -> dict[str, Any]:
        """The same as a JSON object."""
        told: dict[str, Any] = {"source": self.source.model_dump(), "target": self.target.model_dump()}
        if self.positions is not None:
            told["positions"] = {str(partition): offset for partition, offset in sorted(self.positions.items())}
        return told


@dataclass(frozen=True, slots=True)
class Errand:
    """One call: everything that the other end needs to know. `positions` are where a group goes on, on the side of the verb."""

    run: str
    plan_digest: str
    stage: str
    step: str
    attempt: int
    verb: Verb
    subject: Literal["group", "producer"]
    name: str
    source: Topic
    target: Topic
    side: Side
    positions: Mapping[int, int] | None = None
    in_doubt: Verb | None = None
    """For `check`: the verb whose outcome is not known."""
    others: tuple["Counterpart", ...] = ()
    """The other pairs that the subject reads or writes, of several that are switched together."""

    @property
    def idempotency_key(self) -> str:
        """The same for one attempt, however often it arrives: RUN:STEP:ATTEMPT."""
        return f"{self.run}:{self.step}:{self.attempt}"

    @property
    def topic(self) -> Topic:
        """The topic of the side that the verb is about."""
        return self.source if self.side is Side.SOURCE else self.target

    def document(self) -> dict[str, Any]:
        """The same as a JSON object."""
        told: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run": self.run,
            "plan_digest": self.plan_digest,
            "stage": self.stage,
            "step": self.step,
            "attempt": self.attempt,
            "idempotency_key": self.idempotency_key,
            "verb": self.verb,
            "side": self.side.value.lower(),
            "subject": self.subject,
            "name": self.name,
            "source": self.source.model_dump(),
            "target": self.target.model_dump(),
        }
        if self.positions is not None:
            told["positions"] = {str(partition): offset for partition, offset in sorted(self.positions.items())}
        if self.others:
            told["pairs"] = [each.document() for each in self.others]
        if self.in_doubt is not None:
            told["in_doubt"] = self.in_doubt
        return told

    def environment(self) -> dict[str, str]:
        """The same as environment variables, vectors left out."""
        told = {
            "RUN": self.run,
            "PLAN_DIGEST": self.plan_digest,
            "STAGE": self.stage,
            "STEP": self.step,
            "ATTEMPT": str(self.attempt),
            "IDEMPOTENCY_KEY": self.idempotency_key,
            "VERB": self.verb,
            "SIDE": self.side.value.lower(),
            "SUBJECT": self.subject,
            "NAME": self.name,
            "TOPIC": self.topic.name,
            "SOURCE_TOPIC": self.source.name,
            "SOURCE_TOPIC_ID": self.source.id,
            "TARGET_TOPIC": self.target.name,
            "TARGET_TOPIC_ID": self.target.id,
            "IN_DOUBT": self.in_doubt or "",
        }
        return {f"CUTOVER_{name}": value for name, value in told.items()}


@dataclass(frozen=True, slots=True)
class Done:
    """It says that it did it. `status` is the exit code or the HTTP status."""

    status: int
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """It says that it did not, or it could not be begun (`status` None). Nothing is assumed."""

    status: int | None
    tail: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It was begun, and what came of it is not known."""

    why: str
    tail: str = ""


Result = Done | Failed | Unknown
