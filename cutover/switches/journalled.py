"""The hooks of a run, each call in the journal: intent before, outcome after, and a call that was left open settled first.

Implements cutover.world.Hooks. What a hook is and what is believed of it stands in hook.py.
"""

from dataclasses import replace
from typing import Any

from cutover.errors import HookFailed, HookUnusable
from cutover.history import Body
from cutover.plan import Group, Producer
from cutover.protocol import Side
from cutover.switches import hook
from cutover.switches.calls import VERBS, Counterpart, Done, Errand, Failed, HookSpec, Unknown, Verb
from cutover.world import World

NOT_TOLD = Unknown("a former driver began it and did not write down what came of it")


class JournalledHooks:
    """Runs the hooks of groups and producers for a run."""

    def run(self, world: World, subject: Group | Producer, verb: str, step: str, **outcome: Any) -> Body:  # noqa: ANN401
        """Run one verb once; `outcome` is what the step comes to. Raises HookFailed, HookUnknown, HookUnusable."""
        spec, errand = _spec(subject, verb), _errand(world, subject, verb, step)
        if step in world.history.unsettled:
            settled = self.settle(world, subject, verb, step, **outcome)
            if "failed" not in settled:
                return settled
        with world.act(step, verb=verb, name=errand.name, idempotency_key=errand.idempotency_key) as evidence:
            result = hook.settled(spec, errand, world.beat)
            if isinstance(result, Failed):
                raise _failed(errand, result)
            evidence.update(_evidence(errand, result), **outcome)
        return evidence

    def settle(self, world: World, subject: Group | Producer, verb: str, step: str, **outcome: Any) -> Body:  # noqa: ANN401
        """What came of a call that was left open: written down, as a failure where its check says that it did not happen."""
        errand = _errand(world, subject, verb, step)
        former = replace(errand, attempt=errand.attempt - 1)
        found = hook.settle(_spec(subject, verb), former, NOT_TOLD, world.beat)
        told = {"failed": _failed(former, found).document()} if isinstance(found, Failed) else {**_evidence(former, found), **outcome}
        body = {**told, "settled_by": "check"}
        world.record("outcome", step, body)
        return body


def _evidence(errand: Errand, result: Done) -> dict[str, Any]:
    return {"verb": errand.verb, "name": errand.name, "key": errand.idempotency_key, "status": result.status, "tail": result.tail}


def _spec(subject: Group | Producer, verb: str) -> HookSpec:
    if subject.hook is None or verb not in VERBS:
        raise HookUnusable(f"{subject.name} has no hook for {verb}", name=subject.name, verb=verb)
    return HookSpec.of(subject.hook)


def _errand(world: World, subject: Group | Producer, verb: str, step: str) -> Errand:
    known: Verb = next(each for each in VERBS if each == verb)
    side = Side.SOURCE if known.endswith("_source") else Side.TARGET
    return Errand(
        run=world.plan.cutover,
        plan_digest=world.plan_digest,
        stage=world.history.standing.stage.value,
        step=step,
        attempt=world.history.counts.get(step, 0) + 1,
        verb=known,
        subject="group" if isinstance(subject, Group) else "producer",
        name=subject.name,
        source=world.topic(Side.SOURCE),
        target=world.topic(Side.TARGET),
        side=side,
        positions=_positions(world, subject, side) if known.startswith("start_") else None,
        others=tuple(
            Counterpart(
                each.topic(Side.SOURCE),
                each.topic(Side.TARGET),
                _positions(each, subject, side) if known.startswith("start_") else None,
            )
            for each in _other_pairs(world, subject)
        ),
    )


def _other_pairs(world: World, subject: Group | Producer) -> tuple[World, ...]:
    return tuple(each for each in world.having(subject) if each is not world) if len(world.pairs) > 1 else ()


def _positions(world: World, subject: Group | Producer, side: Side) -> dict[int, int] | None:
    """What was written for the group on that side in this stay; a producer has no positions."""
    wrote = world.fact(f"write:{subject.name}:{world.history.done.get(f'moved:{subject.name}', 0)}")
    if wrote is None or wrote.get("side") != side.value:
        return None
    return {int(partition): offset for partition, offset in wrote["positions"].items()}


def _failed(errand: Errand, result: Failed) -> HookFailed:
    code = f" (status {result.status})" if result.status is not None else ""
    return HookFailed(
        f"{errand.verb} of {errand.name} said that it failed{code}",
        why=result.why or result.tail.strip()[-300:] or "It said nothing more.",
        name=errand.name,
        verb=errand.verb,
        status=result.status,
        tail=result.tail,
        idempotency_key=errand.idempotency_key,
    )
