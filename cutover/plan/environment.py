"""Variables in a plan: `${VAR}` in the few fields that may hold it, refused anywhere else. Secrets never stand in a plan at all."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cutover.plan.wrong import Path, Wrong

VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAY_HOLD: Final = (
    ("cluster", "profile"),
    ("cluster", "bootstrap"),
    ("*", "*", "switch", "hook", "url"),
    ("*", "*", "switch", "hook", "env", "*"),
)
SECRETIVE: Final = re.compile(r"passw|passphrase|secret|token|credential|api[-_.]?key|private[-_.]?key", re.IGNORECASE)


def expanded(values: Any, environ: Mapping[str, str], wrongs: list[Wrong], path: Path = ()) -> Any:  # noqa: ANN401 - YAML values
    """The values with their variables filled in; what cannot be is added to `wrongs` and left as it is."""
    if isinstance(values, dict):
        return {key: expanded(each, environ, wrongs, (*path, key)) for key, each in values.items()}
    if isinstance(values, list):
        return [expanded(each, environ, wrongs, (*path, number)) for number, each in enumerate(values)]
    if not isinstance(values, str) or "${" not in values:
        return values
    found = [Wrong(path, what) for what in _troubles(values, path, environ)]
    wrongs += found
    return values if found else VARIABLE.sub(lambda variable: environ[variable[1]], values)


def _troubles(text: str, path: Path, environ: Mapping[str, str]) -> Iterator[str]:
    if not any(_matches(path, allowed) for allowed in MAY_HOLD):
        yield "holds ${, which is filled in only in cluster.profile, cluster.bootstrap and a hook's url and env"
        return
    if "${" in VARIABLE.sub("", text):
        yield "holds ${ without an end"
    for name in VARIABLE.findall(text):
        if not NAME.fullmatch(name):
            yield f"holds ${{{name}}}, which is no name of a variable"
        elif name not in environ:
            yield f"needs the environment variable {name}, which is not set"
        elif "${" in environ[name]:
            yield f"needs the environment variable {name}, which holds ${{ itself"


def _matches(path: Path, allowed: tuple[str, ...]) -> bool:
    return len(path) == len(allowed) and all(wanted in ("*", step) for step, wanted in zip(path, allowed, strict=True))


def secrets(values: Any, path: Path = ()) -> Iterator[Wrong]:  # noqa: ANN401 - YAML values
    """Every key that sounds like a secret, but for the reference that a webhook has; no value is repeated."""
    if isinstance(values, list):
        for number, each in enumerate(values):
            yield from secrets(each, (*path, number))
    if not isinstance(values, dict):
        return
    for key, each in values.items():
        if SECRETIVE.search(key) and not (key == "secret" and path[-1:] == ("hook",)):
            yield Wrong((*path, key), "sounds like a secret: a plan holds none; keep it in a profile, or let the hook read it itself")
        else:
            yield from secrets(each, (*path, key))
