"""The parts of a plan, each with what must hold within it. What must hold between parts is rules.py; Plan itself is model.py.

Everything is frozen and strict: no field that is not known, no text where a number belongs. A docstring below a field is what
the schema and docs/plan.md say of it.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from datetime import datetime, time, timedelta
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from cutover.plan.units import (
    Clock,
    ConfigValue,
    Duration,
    Moment,
    Partitioner,
    Principal,
    Rate,
    Secret,
    Servers,
    Some,
    TopicName,
    Within,
    Words,
)
from cutover.plan.wrong import Wrong, contradiction, refusal

Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
VERBS: Final = ("stop_source", "start_target", "stop_target", "start_source")


class Part(BaseModel):
    """Part of a plan: strict, frozen, nothing but what is known, and at peace with itself."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True)

    def contradictions(self) -> Iterator[Wrong]:
        """What cannot be true together within this part."""
        return iter(())

    @model_validator(mode="after")
    def _at_peace(self) -> Self:
        if found := tuple(self.contradictions()):
            raise contradiction(found)
        return self


class Cluster(Part):
    """Which cluster is meant. Credentials are never part of a plan: a profile names where they are."""

    profile: Words | None = None
    """A profile of ~/.config/cutover/config.toml. May use `${VAR}`."""

    bootstrap: Servers | None = None
    """HOST:PORT, several with commas, where no credentials are needed. May use `${VAR}`."""

    def contradictions(self) -> Iterator[Wrong]:
        """Exactly one of the two."""
        if (self.profile is None) == (self.bootstrap is None):
            yield Wrong((), "names the cluster by either profile or bootstrap, exactly one of them")


class Source(Part):
    """The topic that is written today."""

    topic: TopicName
    """Its name."""


class Target(Part):
    """The topic that is created, and written in the end."""

    topic: TopicName
    """Its name; nothing of this name may be there yet."""

    partitions: AtLeastOne
    """How many partitions it gets. A multiple of the source's keeps every translation of positions exact."""

    partitioner: Partitioner | None = None
    """The formula that places keys there; null: the same as on the source. Another one goes with strategy drain only."""

    replication: AtLeastOne | None = None
    """Replicas of each partition; null takes the source's."""

    config: Mapping[Words, ConfigValue] = Field(default_factory=dict)
    """Topic configs that differ from the source's explicit ones; `inherit` takes the source's effective value (retention.bytes scaled)."""


class PlannedPair(Part):
    """One of several pairs that are switched together."""

    source: Source
    """The topic that is written today. Its name is the pair's."""

    target: Target
    """The topic that is created."""


OfPairs = Annotated[tuple[TopicName, ...], Field(strict=False)]


def _command(value: object) -> object:
    if isinstance(value, str):
        raise refusal("is one text: write the command as a list, [systemctl, stop, importer]; there is no shell")
    return value


def _url(text: str) -> str:
    try:
        found = urlsplit(text)
        host, user = found.hostname, found.username
    except ValueError:
        raise refusal("is not a URL") from None
    if not host or user is not None:
        raise refusal("must be https://HOST/... without a user name; authentication is by the signature under `secret`")
    if found.scheme != "https" and not (found.scheme == "http" and _is_loopback(host)):
        raise refusal("must begin with https:// (http:// only to this host itself)")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


Command = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_command), Field(strict=False, min_length=1)]


class Hook(Part):
    """Commands, or one web address, that stop and start somebody on either topic."""

    stop_source: Command | None = None
    """Stops it on the source: program and arguments as a list, no shell."""

    start_target: Command | None = None
    """Starts it on the target."""

    stop_target: Command | None = None
    """Stops it on the target, on the way back."""

    start_source: Command | None = None
    """Starts it on the source, on the way back."""

    check: Command | None = None
    """Says whether it runs (exit 0: it does, 1: it does not); asked when the outcome of another verb is not known."""

    url: Annotated[str, AfterValidator(_url)] | None = None
    """Instead of commands: every verb is posted here. https, or http to this host itself. May use `${VAR}`."""

    secret: Secret | None = None
    """Where the key is that signs what is posted (HMAC-SHA256): env:NAME or file:/path."""

    timeout: Annotated[Duration, AfterValidator(Within(0.1, 3600))] = 60.0
    """How long one call may take; after that its outcome is unknown."""

    env: Mapping[str, str] = Field(default_factory=dict)
    """Environment variables for the commands. May use `${VAR}`; never for secrets: the plan is journalled."""

    @property
    def verbs(self) -> dict[str, tuple[str, ...]]:
        """The commands that are there, by verb."""
        named = {verb: getattr(self, verb) for verb in (*VERBS, "check")}
        return {verb: command for verb, command in named.items() if command is not None}

    def contradictions(self) -> Iterator[Wrong]:
        """Commands or an address, and what belongs to each."""
        if self.url is None:
            yield from self._as_commands()
        else:
            yield from self._as_address()

    def _as_commands(self) -> Iterator[Wrong]:
        if self.secret is not None:
            yield Wrong(("secret",), "signs what is posted to a url, and there is none")
        yield from (Wrong((verb,), "is missing: it is needed on the way there") for verb in VERBS[:2] if verb not in self.verbs)

    def _as_address(self) -> Iterator[Wrong]:
        yield from (Wrong((verb,), "stands beside url: give commands or a url, not both") for verb in self.verbs)
        if self.secret is None:
            yield Wrong(("secret",), "is missing: what is posted must be signed; write env:NAME or file:/path")
        if self.env:
            yield Wrong(("env",), "is for commands, and this hook is a url")


class HookSwitch(Part):
    """Switched by a hook."""

    hook: Hook
    """The commands or the address."""


def _is_hook(value: object) -> str:
    return ".hook" if isinstance(value, Mapping | HookSwitch) else ".word"


HookOf = Annotated[HookSwitch, Tag(".hook")]
ProducerSwitch = Annotated[Annotated[Literal["sdk", "manual", "own_dual_write"], Tag(".word")] | HookOf, Discriminator(_is_hook)]
GroupSwitch = Annotated[Annotated[Literal["sdk", "primed", "manual"], Tag(".word")] | HookOf, Discriminator(_is_hook)]
SwitchKind = Literal["sdk", "primed", "manual", "own_dual_write", "hook"]


class Switched(Part):
    """Somebody with an owner, who is switched in some way."""

    name: Words
    """What everybody calls it; no two producers or groups share a name."""

    owner: Words
    """The team that answers for it."""

    contact: Words | None = None
    """Where that team is reached."""

    @property
    def switch_kind(self) -> SwitchKind:
        """How it is switched, in one word."""
        told: Literal["sdk", "primed", "manual", "own_dual_write"] | HookSwitch = getattr(self, "switch")  # noqa: B009 - each kind declares its own words
        return "hook" if isinstance(told, HookSwitch) else told

    @property
    def hook(self) -> Hook | None:
        """Its hook, if it is switched by one."""
        told = getattr(self, "switch")  # noqa: B009
        return told.hook if isinstance(told, HookSwitch) else None


class Producer(Switched):
    """An application that writes the topic."""

    switch: ProducerSwitch
    """`sdk`: the client library holds and releases it. `manual`: a person stops and starts it. `{hook: ...}`: a hook does.
    `own_dual_write`: a person does, and its own code writes both topics (dual_write); the audit judges it."""

    instances: AtLeastOne = 1
    """How many instances must have joined before a flip (sdk)."""

    client_ids: Annotated[tuple[Words, ...], Field(strict=False)] = ()
    """Its Kafka client ids, to tell its connections from a stranger's."""

    principal: Principal | None = None
    """Who it is to the brokers, for example User:order-service; needed to seal it."""

    pairs: OfPairs = ()
    """Which of the plan's pairs it writes, by their source topics; none named: all of them."""


def _hand_off(so_far: dict[str, Any]) -> Literal["exact", "at_least_once"]:
    return "exact" if so_far.get("switch") == "sdk" or isinstance(so_far.get("switch"), HookSwitch) else "at_least_once"


class Group(Switched):
    """A consumer group that reads the topic; its name is its group.id."""

    switch: GroupSwitch
    """`sdk`: the client library moves it. `primed`: its owner redeploys when it suits. `manual`: a person stops and starts it.
    `{hook: ...}`: a hook does."""

    hand_off: Literal["exact", "at_least_once"] = Field(default_factory=_hand_off)
    """`exact`: no record is read again. Default: exact for sdk and hook, at_least_once for primed and manual."""

    max_duplicates: Count = 0
    """The most records that it may read again when it moves (at_least_once). The number is measured first; above this the group is not
    started on the target. With 0 a group that would read anything again waits until you raise the number here."""

    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed"
    """How its consumers read. Java's own default is read_uncommitted: such a group may see aborted mirror batches again."""

    missing: Literal["earliest", "latest"] | None = None
    """Where it begins on a partition without a committed position; null: such a partition stops the move."""

    instances: AtLeastOne | None = None
    """How many instances must have joined before it is moved (sdk); null: one."""

    pairs: OfPairs = ()
    """Which of the plan's pairs it reads, by their source topics; none named: all of them. It is moved once, in all of them."""

    def contradictions(self) -> Iterator[Wrong]:
        """What the way of switching, or the way of reading, cannot give."""
        exact = self.hand_off == "exact"
        if exact and self.switch_kind in {"primed", "manual"}:
            yield Wrong(
                ("hand_off",),
                f"cannot be exact with switch {self.switch_kind}: nobody ties its last commit on one side to its first read on"
                " the other; say at_least_once with max_duplicates, or switch it by sdk or hook",
            )
        if exact and self.isolation == "read_uncommitted":
            yield Wrong(("isolation",), "cannot be read_uncommitted with hand_off exact: aborted batches of the mirror would be read again")
        if exact and self.max_duplicates:
            yield Wrong(("max_duplicates",), "allows duplicates, and hand_off is exact: say at_least_once or leave it out")


class History(Part):
    """Where the copy begins."""

    from_: Moment = Field(default="earliest", alias="from")
    """`earliest`, `now`, or a time with its zone (2026-01-31T08:00:00Z)."""

    @property
    def mirror_start(self) -> str:
        """The same in the mirror's words: earliest, latest or an ISO 8601 time."""
        return "latest" if self.from_ == "now" else self.from_


class Budgets(Part):
    """How much of what may be spent."""

    hold: Annotated[Duration, AfterValidator(Within(0.1, 120))] = 2.0
    """How long producers may wait in one flip; past it the flip undoes itself."""

    mirror_lag: Some = 0.5
    """The follower is within reach when it lags less than this."""

    mirror_lag_for: Duration = 10.0
    """For how long it must stay within reach."""

    audit_age: Some = 5.0
    """How old the last verified cut may be at a gate."""

    flip_attempts: AtLeastOne = 5
    """How often a flip is tried before a person must decide."""

    stage: Some = 7200.0
    """How long a stage may take; waiting for an owner does not count."""

    quarantine: Duration = 300.0
    """How long the target stays empty while groups are watched for pattern subscriptions; a client notices a topic within its
    metadata.max.age."""

    on_deadline: Literal["pause", "roll_back"] = "pause"
    """What happens when a stage takes too long."""


class Soak(Part):
    """What must hold, and for how long, before a run may be completed."""

    for_: Duration = Field(default=1800.0, alias="for")
    """How long."""

    max_group_lag: Count = 10_000
    """The most records that a group may be behind on the target."""


class Mirror(Part):
    """The copier."""

    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes on the driver's host."""

    lanes: AtLeastOne | None = None
    """Units of work, fixed for the life of the run; null: 4, or one for each partition if there are fewer."""

    rate: Rate = "none"
    """Limit of the whole mirror, in records (10000/s, 10k/s) or bytes (5MB/s)."""

    grace: Some = 60.0
    """How long workers go on when their driver is gone."""


class Moves(Part):
    """Moving the groups."""

    parallel: AtLeastOne = 1
    """How many groups may be under way at once, in the plan's order. One that waits for its owner holds nobody up."""


class Prime(Part):
    """Keeping positions on the target current while a primed group still reads the source."""

    interval: Annotated[Duration, AfterValidator(Within(0.01, 60))] = 0.1
    """The shortest time between two primes of a group."""


class Gates(Part):
    """How many different names must approve."""

    run: Count = 0
    """Before anything is created."""

    flip: Count = 0
    """Before the writes are switched."""

    complete: Count = 0
    """Before the point of no return."""


class Approvals(Part):
    """Who must agree to what. Without this nobody is asked."""

    gates: Gates = Gates()
    """The approvals that each gate needs."""

    four_eyes: bool = False
    """Whether the one who drives the run counts for nothing."""

    def contradictions(self) -> Iterator[Wrong]:
        """Four eyes need a gate to look at."""
        if self.four_eyes and not (self.gates.run or self.gates.flip or self.gates.complete):
            yield Wrong(("four_eyes",), "asks for another person, and no gate asks for an approval")


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise refusal(f"is {text!r}, no time zone such as America/Toronto or UTC") from None
    return text


class Window(Part):
    """When steps that change something may begin."""

    days: Annotated[tuple[Day, ...], Field(strict=False, min_length=1)] = DAYS
    """The days on which it opens."""

    from_: Clock = Field(alias="from")
    """When it opens; quote it."""

    to: Clock
    """When it closes; earlier than `from` means on the next day."""

    zone: Annotated[str, AfterValidator(_zone)]
    """The zone of these times, for example America/Toronto."""

    def contradictions(self) -> Iterator[Wrong]:
        """A window is open for some time."""
        if self.from_ == self.to:
            yield Wrong(("to",), "is the same as from, so the window is never open")

    def is_open(self, moment: datetime) -> bool:
        """Whether it is open at this moment, which must carry a zone."""
        there = moment.astimezone(ZoneInfo(self.zone))
        clock, opens, closes = there.time(), time.fromisoformat(self.from_), time.fromisoformat(self.to)
        if opens < closes:
            return self._opens_on(there) and opens <= clock < closes
        return (self._opens_on(there) and clock >= opens) or (self._opens_on(there - timedelta(days=1)) and clock < closes)

    def _opens_on(self, day: datetime) -> bool:
        return DAYS[day.weekday()] in self.days
