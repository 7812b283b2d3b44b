"""Posts a verb to the address of a hook: signed, TLS verified, for a bounded time and answer.

The signature is HMAC-SHA256 over `TIMESTAMP.BODY` with the secret that its reference leads to at that moment; nothing logs it.
"""

import hashlib
import hmac
import ipaddress
import json
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from urllib.parse import urlsplit

import httpx

from cutover.connection import SecretReference
from cutover.errors import HookUnusable
from cutover.switches.calls import Done, Errand, Failed, HookSpec, Result, Unknown
from cutover.switches.output import MOST_BYTES, tail

LOOK_SECONDS = 0.02
SIGNATURE = "Cutover-Signature"
TIMESTAMP = "Cutover-Timestamp"
IDEMPOTENCY_KEY = "Idempotency-Key"
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
REFUSED_STATUS = range(300, 500)
REQUEST_TIMEOUT = 408
"""The other end gave up reading or waiting: whether it acted is not known."""


def post(spec: HookSpec, errand: Errand, beat: Callable[[], None]) -> Result:
    """Post it once. `beat` is called while it is under way."""
    address = _address(spec.url)
    secret = SecretReference.parse(spec.secret, "secret").resolve() if spec.secret else ""
    body = json.dumps(errand.document(), sort_keys=True, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/json", IDEMPOTENCY_KEY: errand.idempotency_key, **signed(body, secret, int(time.time()))}
    with ThreadPoolExecutor(1, "hook") as threads:
        return _awaited(threads.submit(_sent, address, body, headers, spec.timeout_seconds, secret), beat)


def signed(body: bytes, secret: str, now: int) -> dict[str, str]:
    """The headers that prove who posts and when: HMAC-SHA256 over `TIMESTAMP.BODY`, in hex after `sha256=`."""
    if not secret:
        return {}
    digest = hmac.new(secret.encode(), b"%d." % now + body, hashlib.sha256).hexdigest()
    return {TIMESTAMP: str(now), SIGNATURE: f"sha256={digest}"}


def _awaited(future: "Future[Result]", beat: Callable[[], None]) -> Result:
    while True:
        try:
            return future.result(LOOK_SECONDS)
        except NotYet:
            beat()


def _sent(address: str, body: bytes, headers: dict[str, str], seconds: float, secret: str) -> Result:
    deadline = time.monotonic() + seconds
    try:
        with (
            httpx.Client(verify=ssl.create_default_context(), trust_env=False, follow_redirects=False, timeout=seconds) as client,
            client.stream("POST", address, content=body, headers=headers) as response,
        ):
            return _judged(response.status_code, tail(_bounded(response, deadline), [secret]))
    except UNSENT as error:
        return Failed(None, why=f"nothing was sent: {error}")
    except (httpx.HTTPError, httpx.StreamError) as error:
        return Unknown(f"the connection broke or timed out after it was sent: {type(error).__name__}: {error}")


def _bounded(response: httpx.Response, deadline: float) -> bytes:
    """The beginning of the answer; one that never ends is left."""
    found = b""
    for chunk in response.iter_raw(MOST_BYTES):
        found += chunk
        if len(found) >= MOST_BYTES or time.monotonic() > deadline:
            break
    return found[:MOST_BYTES]


def _judged(status: int, words: str) -> Result:
    """2xx: done. 3xx and 4xx: it says no. 5xx and 408: it may have acted before it said so."""
    if 200 <= status < 300:
        return Done(status, words)
    if status in REFUSED_STATUS and status != REQUEST_TIMEOUT:
        return Failed(status, words)
    return Unknown(f"it answered {status}, and may have acted before", words)


def _address(url: str | None) -> str:
    """The address, if it may be used; raises HookUnusable."""
    found = urlsplit(url or "")
    if found.scheme == "https" or (found.scheme == "http" and _is_loopback(found.hostname or "")):
        return str(url)
    raise HookUnusable("the address of a hook must begin with https://", why="Only this host itself may be called without TLS.")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
