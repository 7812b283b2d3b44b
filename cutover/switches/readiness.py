"""Answers GET /ready over HTTP with what the gate says: 200 when open, 503 when not, JSON with the reason.

Listens where it is told to, on this host alone by default. The cluster is asked at most every half second, whoever asks here.
"""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cutover.errors import CutoverError, PortTaken
from cutover.switches.gate import Answer

FRESH_SECONDS = 0.5


class Ready:
    """The last answer, asked for anew when it has grown old. Trouble with the cluster is an answer too: not ready."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._answer = Answer(False, "not asked yet")
        self._asked_at = float("-inf")

    def answer(self) -> Answer:
        """The answer, at most half a second old."""
        with self._lock:
            if time.monotonic() - self._asked_at >= FRESH_SECONDS:
                try:
                    self._answer = self._ask()
                except CutoverError as error:
                    self._answer = Answer(False, error.what)
                self._asked_at = time.monotonic()
            return self._answer


def listen(address: str, port: int, ask: Callable[[], Answer]) -> ThreadingHTTPServer:
    """A server that is bound and not serving yet; raises PortTaken."""
    ready = Ready(ask)

    class Answering(BaseHTTPRequestHandler):
        """One request."""

        def do_GET(self) -> None:
            """`/ready` alone."""
            if self.path.partition("?")[0] != "/ready":
                self._say(404, {"why": "there is only /ready"})
                return
            answer = ready.answer()
            self._say(200 if answer.open else 503, answer.document())

        def _say(self, status: int, document: dict[str, object]) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: probes come every second."""

    try:
        return ThreadingHTTPServer((address, port), Answering)
    except OSError as error:
        raise PortTaken(f"{address}:{port} cannot be listened on", why=str(error), address=address, port=port) from error
