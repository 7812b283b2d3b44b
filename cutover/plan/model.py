"""The plan: everything that an operator decides about one cutover, after defaults. Reading a file is reading.py."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self, cast, get_args

from pydantic import Field, ValidationInfo, field_validator

from cutover.partitioners import family
from cutover.plan import rules
from cutover.plan.parts import (
    Approvals,
    Budgets,
    Cluster,
    Group,
    History,
    Mirror,
    Moves,
    Part,
    PlannedPair,
    Prime,
    Producer,
    Soak,
    Source,
    Target,
    Window,
)
from cutover.plan.units import Partitioner, RunName, Words
from cutover.plan.wrong import Wrong

Strategy = Literal["mirror", "dual_write", "drain"]
STRATEGIES: Final = get_args(Strategy)
Ordered = Literal["groups_first", "writes_first", "both_first"]


def _order(so_far: dict[str, Any]) -> Ordered:
    only: dict[str, Ordered] = {"drain": "writes_first", "dual_write": "both_first"}
    return only.get(so_far.get("strategy", ""), "groups_first")


def _history(so_far: dict[str, Any]) -> History:
    return History.model_validate({"from": "now" if so_far.get("strategy") == "drain" else "earliest"})


def _source(so_far: dict[str, Any]) -> Source:
    """The first pair's; without one None, which the rules refuse."""
    pairs = so_far.get("pairs")
    return cast("Source", pairs[0].source if pairs else None)


def _target(so_far: dict[str, Any]) -> Target:
    pairs = so_far.get("pairs")
    return cast("Target", pairs[0].target if pairs else None)


class Plan(Part):
    """A cutover, as it was decided."""

    cutover: RunName
    """The name of the run."""

    cluster: Cluster
    """Which cluster."""

    pairs: Annotated[tuple[PlannedPair, ...], Field(strict=False)] = ()
    """Several pairs that are switched together, all or none, instead of source and target."""

    source: Source = Field(default_factory=_source)
    """The topic that is written today. Required without `pairs`."""

    target: Target = Field(default_factory=_target)
    """The topic that is created. Required without `pairs`."""

    allow_shrink: bool = False
    """Whether the target may have fewer partitions than the source."""

    partitioner: Partitioner
    """The formula that places keys; preflight measures whether the source's records obey it. Aliases are taken."""

    strategy: Strategy = "mirror"
    """`mirror` copies everything and keeps both equal. `dual_write` does, until producers write both topics themselves.
    `drain` copies nothing forward: groups read the source to its end first."""

    order: Ordered = Field(default_factory=_order)
    """What is switched first. Default: groups_first; with drain writes_first and with dual_write both_first, the only ones they have."""

    history: History = Field(default_factory=_history)
    """Where the copy begins. Default: from earliest; with drain from now."""

    null_keys: Literal["keep_partition", "spread"] = "keep_partition"
    """Records without a key keep their partition's number, or are spread over the partitions that it splits into."""

    producers: Annotated[tuple[Producer, ...], Field(strict=False)] = ()
    """Who writes. A producer that is not named here is a straggler."""

    groups: Annotated[tuple[Group, ...], Field(strict=False)] = ()
    """Who reads, in the order in which they are moved."""

    stragglers: Literal["forward", "refuse"] = "refuse"
    """What becomes of records that a forgotten producer writes after the flip: `forward` carries them over without the promise of
    order, `refuse` stops."""

    way_back: Literal["full", "limited", "none"] = "full"
    """`limited`: the source's configs may not be changed, so its retention bounds the way back. `none`: no way back after the flip."""

    budgets: Budgets = Budgets()
    """How much of what may be spent."""

    soak: Soak = Soak()
    """What must hold before completion."""

    mirror: Mirror = Mirror()
    """The copier."""

    moves: Moves = Moves()
    """How groups are moved."""

    prime: Prime = Prime()
    """Priming of groups."""

    approvals: Approvals = Approvals()
    """Who must agree."""

    window: Window | None = None
    """When steps that change something may begin; null: at any time."""

    acknowledged: Annotated[tuple[Words, ...], Field(strict=False)] = ()
    """Ids of amber findings of the preflight that you accept."""

    waived_groups: Annotated[tuple[Words, ...], Field(strict=False)] = ()
    """Groups that may be left on the source at completion."""

    @property
    def target_partitioner(self) -> str:
        """The formula that places keys on the target."""
        return self.target.partitioner or self.partitioner

    @property
    def changes_partitioner(self) -> bool:
        """Whether the two topics place keys by different formulas."""
        return family(self.target_partitioner) is not family(self.partitioner)

    def of_each_pair(self) -> tuple[Self, ...]:
        """The plan of each pair by itself, as if it were the only one; of a plan with one pair, itself."""
        if not self.pairs:
            return (self,)
        return tuple(
            self.model_copy(
                update={
                    "pairs": (),
                    "source": each.source,
                    "target": each.target,
                    "producers": tuple(
                        producer for producer in self.producers if each.source.topic in (producer.pairs or {each.source.topic})
                    ),
                    "groups": tuple(group for group in self.groups if each.source.topic in (group.pairs or {each.source.topic})),
                }
            )
            for each in self.pairs
        )

    def contradictions(self) -> Iterator[Wrong]:
        """What cannot be true together between the parts."""
        return rules.broken({name: getattr(self, name) for name in type(self).model_fields})

    @field_validator("*", mode="after")
    @classmethod
    def _note_sound(cls, value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401
        """Tell whoever reads a file which parts are sound, though others are not."""
        if info.context is not None and info.field_name is not None:
            info.context[info.field_name] = value
        return value


def sound_parts(noted: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that are sound, with the defaults of those that were not given."""
    found = dict(noted)
    for name, field in Plan.model_fields.items():
        if name not in given and not field.is_required():
            found[name] = field.get_default(call_default_factory=True, validated_data=found)
    return found
