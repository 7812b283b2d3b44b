"""One call of a hook, and what to believe where its outcome is not known: `check` decides, or nobody does.

Nothing whose outcome is unknown is run again unless `check` says that it did not happen. Commands are command.py's, addresses
webhook.py's.
"""

import json
from collections.abc import Callable
from dataclasses import replace

from cutover.errors import HookUnknown
from cutover.switches import command, webhook
from cutover.switches.calls import Done, Errand, Failed, HookSpec, Result, Unknown, Verb

RUNS, DEAD, NOT_RUNNING = 0, 1, 3
"""Exit codes of a `check` command: it runs on that side; it does not (1, or 3 as `systemctl is-active` says it). Else: it cannot say."""

Beat = Callable[[], None]


def _nothing() -> None:
    """No beat."""


def call(spec: HookSpec, errand: Errand, beat: Beat = _nothing) -> Result:
    """Run the verb once and say what came of it. Raises HookUnusable, SecretUnavailable, before anything was run."""
    return webhook.post(spec, errand, beat) if spec.url is not None else command.run(spec, errand, beat)


def settled(spec: HookSpec, errand: Errand, beat: Beat = _nothing) -> Done | Failed:
    """Run the verb once; an unknown outcome is settled by `check`. Raises HookUnknown where it cannot be."""
    result = call(spec, errand, beat)
    return settle(spec, errand, result, beat) if isinstance(result, Unknown) else result


def settle(spec: HookSpec, errand: Errand, doubt: Unknown, beat: Beat = _nothing) -> Done | Failed:
    """What became of a verb in doubt: Done if its subject is now as the verb wants it, Failed if not. Raises HookUnknown."""
    if not spec.can_check:
        raise _unknown(errand, doubt, "There is no check that could tell.")
    checking = replace(errand, verb="check", in_doubt=errand.verb)
    found = runs(call(spec, checking, beat), by_command=spec.url is None)
    if found is None:
        raise _unknown(errand, doubt, "Its check could not tell either.")
    words = f"{doubt.why}; check says that it {'runs' if found else 'does not run'} on the {errand.side.value.lower()}"
    return Done(0, words) if found == wants_running(errand.verb) else Failed(None, why=words)


def runs(answer: Result, *, by_command: bool) -> bool | None:
    """What a check says: whether its subject runs on the side asked about; None where it cannot tell.

    A command says it by its exit code: 0 it runs, 1 or 3 it does not. An address answers 200 and {"running": true or false}.
    """
    if not by_command:
        return _told(answer.tail) if isinstance(answer, Done) else None
    if isinstance(answer, Done):
        return True
    return False if isinstance(answer, Failed) and answer.status in {DEAD, NOT_RUNNING} else None


def wants_running(verb: Verb) -> bool:
    """Whether the verb is to make its subject run."""
    return verb.startswith("start_")


def _told(words: str) -> bool | None:
    try:
        found = json.loads(words)
    except ValueError:
        return None
    running = found.get("running") if isinstance(found, dict) else None
    return running if isinstance(running, bool) else None


def _unknown(errand: Errand, doubt: Unknown, why: str) -> HookUnknown:
    return HookUnknown(
        f"nobody knows whether {errand.verb} of {errand.name} happened: {doubt.why}",
        why=f"{why} It is not run again.",
        advice=f"Look whether {errand.name} runs on {errand.topic.name}, make it so or not, then: "
        f"cutover confirm {errand.run} {errand.name} {'started' if wants_running(errand.verb) else 'stopped'}",
        name=errand.name,
        verb=errand.verb,
        idempotency_key=errand.idempotency_key,
        tail=doubt.tail,
    )
