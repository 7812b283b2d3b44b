"""One text for one JSON value, and the refusal to write a secret into it. Pure.

Sorted keys, no spaces, everything outside ASCII escaped: the text that is hashed is the text that is stored.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cutover.connection import SECRETS, SecretReference

SECRET_NAMES: Final = SECRETS | {"password", "secret", "token"}
"""Whole names: a group may well be called reset-password."""


def canonical(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """The one text of a JSON value; tuples become lists, keys become texts, NaN is refused."""
    return _text(json.loads(_text(value)))  # twice: keys that were numbers sort as texts only once they are texts


def _text(value: Any) -> str:  # noqa: ANN401
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def refuse_secrets(value: Any, what: str) -> None:  # noqa: ANN401
    """Raise LiteralSecret where a text under the name password, secret or token, or of a secret property, is no reference to one."""
    for name, text in _texts(value, what):
        if name.lower() in SECRET_NAMES:
            SecretReference.parse(text, f"{name} in {what}")


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(each, str(key))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each, name)
    elif isinstance(value, str) and value:
        yield name, value


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401
    """Where two JSON values differ, each as `path: old → new`, in the order of their paths."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list):
        for place in range(max(len(old), len(new))):
            was, now = (each[place] if place < len(each) else ABSENT for each in (old, new))
            yield from differences(was, now, f"{path}[{place}]")
    elif type(old) is not type(new) or old != new:
        yield f"{path}: {_shown(old)} → {_shown(new)}"


class _Absent:
    pass


ABSENT: Final = _Absent()


def _shown(value: Any) -> str:  # noqa: ANN401
    return "(absent)" if value is ABSENT else _text(value)
