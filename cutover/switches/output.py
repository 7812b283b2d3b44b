"""The end of what a hook said, fit for the journal: bounded, and without what looks like a secret."""

import re
from collections.abc import Iterable

MOST_BYTES = 4096
HIDDEN = "***"
_NAMED = re.compile(
    r"""(?ix) \b ((?:[\w.-]*(?:password|passwd|secret|token|api[_-]?key|credential|authorization)[\w.-]*) ["']? \s* [=:] \s*)
        (?:(?:bearer|basic)\s+)? (?:"[^"]*"|'[^']*'|[^\s,;&]+)"""
)
_IN_URL = re.compile(r"(?<=://)[^\s/@]+@")


def tail(content: bytes, secrets: Iterable[str] = ()) -> str:
    """The last 4 KiB as text, the given secrets and whatever is called one hidden."""
    text = content.decode("utf-8", "replace")
    for secret in secrets:
        text = text.replace(secret, HIDDEN) if secret else text
    text = _IN_URL.sub(f"{HIDDEN}@", _NAMED.sub(rf"\1{HIDDEN}", text))
    return text.encode()[-MOST_BYTES:].decode("utf-8", "ignore")
