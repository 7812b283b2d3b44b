"""Stands between Kafka clients and one broker, in a thread and event loop of its own, and forwards every frame unchanged.

The rules say which single frame is held, dropped or acted on. Errors of the proxy itself are raised when it is closed.
"""

import asyncio
import socket
import struct
import threading
from functools import partial
from types import TracebackType

from tests.proxy.frames import Answer, Request, correlation_of
from tests.proxy.rules import PATIENCE_SECONDS, Action, Held, Mode, Moment, Predicate, Rule, RuleBook, any_frame

_LOOPBACK = "127.0.0.1"
_LENGTH = struct.Struct(">i")
_LINGER_ZERO = struct.pack("ii", 1, 0)  # closing sends RST


async def _frame(reader: asyncio.StreamReader) -> bytes | None:
    """Read one frame with its length prefix; None when the other side is gone."""
    try:
        length = await reader.readexactly(_LENGTH.size)
        return length + await reader.readexactly(_LENGTH.unpack(length)[0])
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class _Peer:
    """One side of a connection; writing to a side that is gone does nothing and is reported as False."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, raw: bytes) -> bool:
        if self.writer.is_closing():
            return False
        try:
            self.writer.write(raw)
            await self.writer.drain()
        except ConnectionError:
            return False
        return True

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


class _Connection:
    """One client connection and the broker connection that belongs to it alone."""

    def __init__(self, book: RuleBook, failures: list[Exception], client: _Peer, broker: _Peer) -> None:
        self.book, self.failures, self.client, self.broker = book, failures, client, broker
        self.unanswered: dict[int, Request] = {}
        self.answer_rules: dict[int, Rule] = {}
        self.held: Held | None = None
        self.late_answer = asyncio.Event()

    async def run(self) -> None:
        tasks = [asyncio.create_task(self.requests()), asyncio.create_task(self.answers())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.failures += [failed for each in done if isinstance(failed := each.exception(), Exception)]
        finally:
            for each in tasks:
                each.cancel()
            if self.held and not self.held.answered.done():
                self.held.answered.set_exception(ConnectionError("the broker closed the connection of the held frame"))
            self.client.close()
            self.broker.close()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def requests(self) -> None:
        while (raw := await _frame(self.client.reader)) is not None:
            request = Request.parse(raw)
            rule = self.book.match(request)
            if rule is None:
                await self.forward(request)
            elif rule.moment == "before_answer":
                self.answer_rules[request.correlation_id] = rule
                await self.forward(request)
            elif not await self.obey(rule, request):
                break
        if self.held:  # its client may be gone, its answer is still wanted
            await self.late_answer.wait()

    async def forward(self, request: Request) -> None:
        self.unanswered[request.correlation_id] = request
        await self.broker.send(request.raw)

    async def obey(self, rule: Rule, request: Request) -> bool:
        """Apply a rule before forwarding; false when the connection ends with it."""
        if isinstance(rule, Held):
            return await self.hold(rule, request)
        await _act(rule, request)
        if rule.forward:
            await self.forward(request)
        return True

    async def hold(self, held: Held, request: Request) -> bool:
        released = asyncio.Event()
        held.let_go = partial(asyncio.get_running_loop().call_soon_threadsafe, released.set)
        self.held = held
        if held.mode == "close":
            self.client.close()
        elif held.mode == "reset":
            self.client.reset()
        await _act(held, request)
        await released.wait()
        await self.forward(request)
        return held.mode == "stall"

    async def answers(self) -> None:
        while (raw := await _frame(self.broker.reader)) is not None:
            correlation = correlation_of(raw)
            request = self.unanswered.pop(correlation)
            if self.held and self.held.fired.done() and self.held.fired.result() is request:
                self.held.answered.set_result(Answer(raw, request))
                self.late_answer.set()
            rule = self.answer_rules.pop(correlation, None)
            if rule is not None:
                await _act(rule, request)
            if rule is None or rule.forward:
                await self.client.send(raw)


async def _act(rule: Rule, request: Request) -> None:
    """Run the rule's action in a thread, to its end also when it ends the connection that it was called from."""
    await asyncio.to_thread(_run, rule, request)


def _run(rule: Rule, request: Request) -> None:
    try:
        if rule.action is not None:
            rule.action(request)
    except Exception as failed:  # noqa: BLE001 - it is raised again in the test that waits for the rule
        rule.fired.set_exception(failed)
    else:
        rule.fired.set_result(request)


class Proxy:
    """Listens on the port that a broker advertises and forwards to the port it listens on; both on loopback."""

    def __init__(self, listen_port: int, broker_port: int) -> None:
        self.listen_port, self.broker_port = listen_port, broker_port
        self._book = RuleBook()
        self._thread = threading.Thread(target=self._serve, name=f"proxy-{listen_port}", daemon=True)
        self._listening = threading.Event()
        self._closing = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._failures: list[Exception] = []

    @property
    def bootstrap(self) -> str:
        """Where clients connect to be seen by the proxy."""
        return f"{_LOOPBACK}:{self.listen_port}"

    def __enter__(self) -> "Proxy":
        """Listen; raises what kept it from listening."""
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        if not self._listening.wait(PATIENCE_SECONDS) or self._failures:
            self._thread.join(PATIENCE_SECONDS)
            raise ExceptionGroup("the proxy does not listen", self._failures or [TimeoutError(self.bootstrap)])
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        """Close every connection; raises the proxy's own failures unless the test failed already."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(PATIENCE_SECONDS)
        if self._failures and error is None:
            raise ExceptionGroup("the proxy failed", self._failures)

    def hold(self, api: str, *, nth: int = 1, when: Predicate = any_frame, mode: Mode = "close", action: Action | None = None) -> Held:
        """Keep one frame back; the client's connection is closed, reset or left without an answer, then the action is run."""
        held = Held(api, nth, when, action=action, mode=mode)
        self._book.add(held)
        return held

    def on(
        self,
        api: str,
        action: Action,
        *,
        nth: int = 1,
        when: Predicate = any_frame,
        moment: Moment = "before_forward",
        forward: bool = True,
    ) -> Rule:
        """Run an action when a frame came, or when its answer did, and only then let it pass (or not)."""
        rule = Rule(api, nth, when, moment, action, forward)
        self._book.add(rule)
        return rule

    def versions(self, api: str) -> dict[int, int]:
        """How many requests of an API were seen, by version."""
        return self._book.versions(api)

    def wait_seen(self, api: str, count: int = 1, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until so many requests of an API were seen since the proxy was opened."""
        self._book.wait_seen(api, count, timeout_seconds)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._listen())
        except OSError as failed:
            self._failures.append(failed)
            self._listening.set()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._accept, _LOOPBACK, self.listen_port)
        self._listening.set()
        await self._closing.wait()
        server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for each in others:
                each.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing.is_set():
            writer.transport.abort()
            return
        task = self._loop.create_task(self._connect(_Peer(reader, writer)))
        self._connections.add(task)
        task.add_done_callback(lambda done: self._end(done, writer))

    def _end(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        self._connections.discard(task)
        writer.transport.abort()  # it is closed already unless the task was cancelled before its first step
        if not task.cancelled() and isinstance(failed := task.exception(), Exception):
            self._failures.append(failed)

    async def _connect(self, client: _Peer) -> None:
        try:
            broker = _Peer(*await asyncio.open_connection(_LOOPBACK, self.broker_port))
        except OSError:  # the broker is down: the client sees its connection close
            client.close()
            return
        await _Connection(self._book, self._failures, client, broker).run()
