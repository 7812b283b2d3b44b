"""Which way a topic's records go by what the control log says, and why they do not go now. Pure."""

from collections.abc import Callable

from cutover.client.dual import Dual
from cutover.client.errors import ControlUnavailable, Held, InstanceReplaced
from cutover.client.gate import Route
from cutover.client.settings import Settings
from cutover.client.watch import View
from cutover.partitioners import family
from cutover.protocol import Mode, PairState


def starting(settings: Settings) -> Route:
    """The route of a topic before the instance has joined for it."""

    def late() -> ControlUnavailable:
        return ControlUnavailable(
            f"the control log was not joined within {settings.start_seconds:g} s",
            why=f"{settings.control_topic} does not answer, or an open transaction hides its end.",
        )

    return Route("", shut=late, seconds=settings.start_seconds)


def route_of(view: View, topic: str, settings: Settings) -> Route:
    """Where records for a topic go now."""
    if view.trouble is not None:
        trouble = view.trouble
        final = isinstance(trouble, InstanceReplaced)
        return Route("", shut=lambda: type(trouble)(trouble.what, why=trouble.why), seconds=0.0 if final else settings.hold_seconds)
    if topic not in view.joined:
        return starting(settings)
    pair = view.pair(topic)
    if pair is None:
        return Route(topic)
    if pair.hold is not None:
        return Route("", shut=_held(pair.hold.term, settings), seconds=settings.hold_seconds)
    if pair.mode is Mode.DUAL:
        return Route(pair.primary.name, followed=True, dual=dual_of(view, pair))
    return Route(pair.primary.name, followed=True, moved=pair.mode is Mode.TARGET, place=_place(pair))


def _place(pair: PairState) -> Callable[[str | bytes | None], int] | None:
    """How keys are placed on the target, where the pair says that it is by another formula than on the source."""
    if pair.mode is not Mode.TARGET or pair.told.target_partitioner is None:
        return None
    formula, count = family(pair.told.target_partitioner), pair.told.target.partitions

    def place(key: str | bytes | None) -> int:
        encoded = key.encode() if isinstance(key, str) else key
        return formula.place(encoded, count) if encoded is not None and formula.decides(encoded) else -1

    return place


def _held(term: int, settings: Settings) -> Callable[[], Held]:
    return lambda: Held(
        f"producers have been held for more than {settings.hold_seconds:g} s",
        why=f"Term {term} of the switch is not decided in the control log.",
        term=term,
    )


def dual_of(view: View, pair: PairState) -> Dual:
    """How this instance writes both topics of a pair, now or in the epoch that a hold would begin."""
    name = view.names(pair.pair)[0]
    known = view.state.instances.get(name)
    epoch = pair.epoch if pair.hold is None else pair.hold.epoch or 0
    told = pair.told
    return Dual(
        pair.pair,
        told.source.name,
        told.target.name,
        epoch,
        name,
        known.joined.session if known else "",
        (told.source.partitions, told.target.partitions),
        told.null_keys,
    )


def duals_of(view: View) -> dict[str, Dual]:
    """The pairs in DUAL, held or not."""
    pairs = _pairs(view)
    return {each.pair: dual_of(view, each) for each in pairs if each.mode is Mode.DUAL}


def entering(view: View) -> dict[str, Dual]:
    """The pairs that are held for DUAL, and how they would be written."""
    return {each.pair: dual_of(view, each) for each in _pairs(view) if each.hold is not None and each.hold.to is Mode.DUAL}


def _pairs(view: View) -> list[PairState]:
    return [found for topic in view.joined if (found := view.pair(topic)) is not None]
