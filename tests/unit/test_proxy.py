"""The proxy and its parser, against frames built by hand, frames of a real librdkafka, and a broker that only echoes."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from tests.proxy.frames import Answer, FrameError, Request, correlation_of
from tests.proxy.proxy import Proxy

END_TXN, TXN_OFFSET_COMMIT, ADD_PARTITIONS = 26, 28, 24
PATIENCE_SECONDS = 10.0


def framed(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def header(api_key: int, version: int, correlation: int, client: bytes | None = b"tester") -> bytes:
    name = struct.pack(">h", -1) if client is None else struct.pack(">h", len(client)) + client
    return struct.pack(">hhi", api_key, version, correlation) + name


def compact(text: bytes) -> bytes:
    return bytes([len(text) + 1]) + text


def legacy(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def end_txn(version: int, correlation: int = 7, *, committed: bool = True) -> bytes:
    ids = struct.pack(">qh?", 4711, 3, committed)
    if version >= 3:
        return framed(header(END_TXN, version, correlation) + b"\0" + compact(b"lane") + ids + b"\0")
    return framed(header(END_TXN, version, correlation) + legacy(b"lane") + ids)


def txn_offset_commit(version: int) -> bytes:
    ids = struct.pack(">qh", 4711, 3)
    if version >= 3:
        return framed(header(TXN_OFFSET_COMMIT, version, 8) + b"\0" + compact(b"lane") + compact(b"group") + ids)
    return framed(header(TXN_OFFSET_COMMIT, version, 8) + legacy(b"lane") + legacy(b"group") + ids)


@pytest.mark.parametrize("version", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("committed", [True, False])
def test_the_ids_and_the_verdict_of_an_end_txn_are_read_in_every_version(version: int, committed: bool) -> None:
    request = Request.parse(end_txn(version, committed=committed))

    assert (request.api, request.api_version, request.correlation_id, request.client_id) == ("EndTxn", version, 7, "tester")
    ids = request.transactional
    assert ids is not None
    assert (ids.transactional_id, ids.producer_id, ids.producer_epoch, ids.committed) == ("lane", 4711, 3, committed)


@pytest.mark.parametrize("version", [0, 2, 3, 5])
def test_the_group_of_a_transactional_offset_commit_is_read(version: int) -> None:
    ids = Request.parse(txn_offset_commit(version)).transactional

    assert ids is not None
    assert (ids.transactional_id, ids.group_id, ids.producer_id, ids.producer_epoch) == ("lane", "group", 4711, 3)
    assert ids.committed is None


def test_a_request_without_a_client_id_and_one_of_an_unknown_api_are_frames_like_others() -> None:
    request = Request.parse(framed(header(999, 12, 5, client=None) + b"body"))

    assert (request.api, request.client_id, request.body, request.transactional) == ("999", None, b"body", None)


def test_tagged_fields_of_the_header_do_not_shift_the_body() -> None:
    raw = framed(header(END_TXN, 5, 1) + b"\x02\x00\x01x\x63\x02yz" + compact(b"lane") + struct.pack(">qh?", 1, 2, True) + b"\0")
    ids = Request.parse(raw).transactional

    assert ids is not None
    assert (ids.transactional_id, ids.producer_id) == ("lane", 1)


def test_the_batched_form_that_brokers_send_among_themselves_has_no_single_id() -> None:
    assert Request.parse(framed(header(ADD_PARTITIONS, 4, 1) + b"\0\2")).transactional is None


@pytest.mark.parametrize("size", [5, 11, 13, 16])
def test_a_frame_that_ends_inside_its_header_is_refused(size: int) -> None:
    with pytest.raises(FrameError):
        Request.parse(end_txn(1)[:size])


def test_a_frame_that_ends_inside_its_ids_is_refused() -> None:
    with pytest.raises(FrameError):
        _ = Request.parse(end_txn(1)[:-4]).transactional


@pytest.mark.parametrize(("version", "tags"), [(1, b""), (4, b"\0"), (5, b"\0")])
def test_the_error_code_of_an_answer_to_end_txn_is_read(version: int, tags: bytes) -> None:
    raw = framed(struct.pack(">i", 7) + tags + struct.pack(">ih", 0, 90) + tags)

    assert Answer(raw, Request.parse(end_txn(version))).error_code == 90
    assert correlation_of(raw) == 7


def test_the_first_partition_that_was_refused_gives_the_error_of_an_offset_commit() -> None:
    partitions = struct.pack(">ih", 0, 0) + b"\0" + struct.pack(">ih", 1, 47) + b"\0"
    raw = framed(struct.pack(">i", 8) + b"\0" + struct.pack(">i", 0) + b"\2" + compact(b"t") + b"\3" + partitions + b"\0\0")
    older = framed(struct.pack(">iii", 8, 0, 1) + legacy(b"t") + struct.pack(">iihih", 2, 0, 0, 1, 16))

    assert Answer(raw, Request.parse(txn_offset_commit(5))).error_code == 47
    assert Answer(older, Request.parse(txn_offset_commit(2))).error_code == 16


class EchoBroker:
    """Answers each frame with its correlation id, on as many connections as there come, and keeps the bytes of each."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self.received: list[bytes] = []
        self.connections: list[socket.socket] = []
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            self.connections.append(connection)
            self.received.append(b"")
            self.threads.append(threading.Thread(target=self.serve, args=(connection, len(self.received) - 1)))
            self.threads[-1].start()

    def serve(self, connection: socket.socket, number: int) -> None:
        while raw := receive(connection):
            self.received[number] += raw
            connection.sendall(framed(raw[8:12] + b"\0" + struct.pack(">ih", 0, 0) + b"\0"))

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for each in self.threads:
            each.join(PATIENCE_SECONDS)
        for connection in self.connections:
            connection.close()


def receive(connection: socket.socket) -> bytes:
    """One frame with its length prefix; empty at the end of the connection."""
    raw = b""
    wanted = 4
    while len(raw) < wanted:
        part = connection.recv(wanted - len(raw))
        if not part:
            return b""
        raw += part
        if len(raw) == 4 and wanted == 4:
            wanted += int.from_bytes(raw)
    return raw


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def broker() -> Iterator[EchoBroker]:
    running = EchoBroker()
    yield running
    running.close()


@pytest.fixture
def proxy(broker: EchoBroker) -> Iterator[Proxy]:
    with Proxy(free_port(), broker.port) as running:
        yield running


@contextmanager
def client_of(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.listen_port), PATIENCE_SECONDS) as connection:
        yield connection


def ask(connection: socket.socket, request: bytes) -> int:
    connection.sendall(request)
    return correlation_of(receive(connection))


def test_frames_pass_unchanged_and_are_counted_by_version(proxy: Proxy, broker: EchoBroker) -> None:
    frames = [end_txn(5, 1), txn_offset_commit(2), framed(header(999, 0, 3) + bytes(200_000))]
    with client_of(proxy) as client:
        assert [ask(client, each) for each in frames] == [1, 8, 3]

    assert broker.received == [b"".join(frames)]
    assert (proxy.versions("EndTxn"), proxy.versions("TxnOffsetCommit"), proxy.versions("Produce")) == ({5: 1}, {2: 1}, {})
    proxy.wait_seen("EndTxn", 1)


def test_waiting_for_a_frame_that_does_not_come_ends_in_an_error(proxy: Proxy) -> None:
    with pytest.raises(TimeoutError):
        proxy.wait_seen("EndTxn", 1, timeout_seconds=0.05)
    with pytest.raises(TimeoutError):
        proxy.hold("EndTxn").wait(0.05)


@pytest.mark.parametrize("mode", ["close", "reset"])
def test_a_held_frame_reaches_the_broker_late_on_its_own_connection(proxy: Proxy, broker: EchoBroker, mode: str) -> None:
    held = proxy.hold("EndTxn", mode="close" if mode == "close" else "reset")
    with client_of(proxy) as client, client_of(proxy) as again:
        assert ask(client, txn_offset_commit(5)) == 8
        client.sendall(end_txn(5, 1))
        if mode == "close":
            assert receive(client) == b""
        else:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert ask(again, end_txn(5, 2)) == 2
        assert broker.received == [txn_offset_commit(5), end_txn(5, 2)]

        answer = held.release()

    assert (answer.error_code, correlation_of(answer.raw)) == (0, 1)
    assert broker.received == [txn_offset_commit(5) + end_txn(5, 1), end_txn(5, 2)]


def test_a_stalled_connection_goes_on_where_it_stopped_once_released(proxy: Proxy, broker: EchoBroker) -> None:
    with client_of(proxy) as client:
        assert ask(client, end_txn(1, 6)) == 6, "the rule below is for the next one"
        held = proxy.hold("EndTxn", mode="stall")
        client.sendall(end_txn(5, 1) + txn_offset_commit(5))
        held.wait()
        assert broker.received == [end_txn(1, 6)]
        held.release()
        assert [correlation_of(receive(client)) for _ in range(2)] == [1, 8]

    assert broker.received == [end_txn(1, 6) + end_txn(5, 1) + txn_offset_commit(5)]


def test_the_nth_frame_that_the_predicate_accepts_is_held_and_only_once(proxy: Proxy) -> None:
    def aborts(request: Request) -> bool:
        return request.transactional is not None and request.transactional.committed is False

    held = proxy.hold("EndTxn", nth=2, when=aborts)
    with client_of(proxy) as client, client_of(proxy) as again:
        assert [ask(client, end_txn(5, n, committed=n != 2)) for n in (1, 2, 3)] == [1, 2, 3]
        client.sendall(end_txn(5, 4, committed=False))
        assert held.wait().correlation_id == 4
        assert ask(again, end_txn(5, 5, committed=False)) == 5
        held.release()


def test_an_action_runs_before_a_frame_that_is_dropped(proxy: Proxy, broker: EchoBroker) -> None:
    acted: list[int] = []
    rule = proxy.on("EndTxn", lambda request: acted.append(request.correlation_id), forward=False)
    with client_of(proxy) as client:
        client.sendall(end_txn(5, 1))
        assert ask(client, txn_offset_commit(5)) == 8
        assert rule.wait().correlation_id == 1

    assert acted == [1]
    assert broker.received == [txn_offset_commit(5)]


def test_an_action_runs_between_the_brokers_answer_and_the_client(proxy: Proxy, broker: EchoBroker) -> None:
    at_that_moment: list[bytes] = []
    rule = proxy.on("EndTxn", lambda _: at_that_moment.append(broker.received[0]), moment="before_answer", forward=False)
    with client_of(proxy) as client:
        client.sendall(end_txn(5, 1))
        rule.wait()
        assert ask(client, txn_offset_commit(5)) == 8, "the answer to EndTxn is withheld, the next one is not"

    assert at_that_moment == [end_txn(5, 1)]


def test_an_action_that_ends_the_client_is_carried_out_to_its_end(proxy: Proxy, broker: EchoBroker) -> None:
    def end_client(_: Request) -> None:
        client.close()
        broker.threads[-1].join(PATIENCE_SECONDS)

    rule = proxy.on("EndTxn", end_client, moment="before_answer", forward=False)
    with client_of(proxy) as client:
        client.sendall(end_txn(5, 1))
        assert rule.wait().correlation_id == 1

    assert not broker.threads[-1].is_alive(), "the proxy closed the broker's side while the action was still running"


def test_what_an_action_raises_is_raised_where_the_rule_is_waited_for(proxy: Proxy) -> None:
    def fail(_: Request) -> None:
        raise LookupError("no such worker")

    rule = proxy.on("EndTxn", fail)
    with client_of(proxy) as client:
        ask(client, end_txn(5, 1))
    with pytest.raises(LookupError, match="no such worker"):
        rule.wait()


def test_a_frame_that_cannot_be_parsed_fails_the_proxy_loudly(broker: EchoBroker) -> None:
    def send_garbage() -> None:
        with Proxy(free_port(), broker.port) as running, client_of(running) as client:
            client.sendall(framed(b"xyz"))
            assert receive(client) == b""

    with pytest.raises(ExceptionGroup, match="the proxy failed") as failure:
        send_garbage()
    assert failure.group_contains(FrameError)


def test_a_client_sees_its_connection_close_when_the_broker_is_down() -> None:
    with Proxy(free_port(), free_port()) as running, client_of(running) as client:
        assert receive(client) == b""


def test_a_release_after_the_broker_went_away_is_an_error(proxy: Proxy, broker: EchoBroker) -> None:
    held = proxy.hold("EndTxn", mode="stall")
    with client_of(proxy) as client:
        assert ask(client, txn_offset_commit(5)) == 8
        client.sendall(end_txn(5, 1))
        held.wait()
        broker.connections[0].shutdown(socket.SHUT_RDWR)
        assert receive(client) == b""
        with pytest.raises(ConnectionError):
            held.release()


def test_a_port_that_is_taken_is_an_error_at_the_start(broker: EchoBroker) -> None:
    with pytest.raises(ExceptionGroup, match="does not listen"), Proxy(broker.port, broker.port):
        pass


def test_the_header_that_a_real_librdkafka_sends_is_read(broker: EchoBroker) -> None:
    with Proxy(free_port(), broker.port) as running:
        seen = running.on("ApiVersions", lambda _: None, forward=False)
        client = Producer({"bootstrap.servers": running.bootstrap, "client.id": "real", "log_level": 0})
        client.poll(0)
        request = seen.wait()
        assert (request.client_id, request.correlation_id) == ("real", 1)
        assert request.api_version >= 3
        del client
