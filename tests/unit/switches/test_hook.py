"""Hooks as commands and as addresses: what they are told, what is believed of them, and what is never run twice."""

import hashlib
import hmac
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cutover.errors import HookUnknown, HookUnusable, LeaseExpired, SecretUnavailable
from cutover.protocol import Side, Topic
from cutover.switches import hook
from cutover.switches.calls import Done, Errand, Failed, HookSpec, Result, Unknown, Verb
from cutover.switches.output import MOST_BYTES, tail
from tests.conftest import SLOW_MACHINE, WaitUntil

ERRAND = Errand(
    run="orders-6-to-24",
    plan_digest="d1",
    stage="moving_groups",
    step="start:balances:0",
    attempt=2,
    verb="start_target",
    subject="group",
    name="balances",
    source=Topic(name="orders", id="S" * 22, partitions=2),
    target=Topic(name="orders.v2", id="T" * 22, partitions=4),
    side=Side.TARGET,
    positions={0: 5, 1: 7, 2: 0, 3: 9},
)


def script(path: Path, text: str) -> tuple[str, ...]:
    path.write_text(text)
    return (sys.executable, str(path))


def by_commands(timeout_seconds: float = 10.0, **commands: tuple[str, ...]) -> HookSpec:
    return HookSpec(commands, timeout_seconds=timeout_seconds)  # type: ignore[arg-type]


def counting(path: Path, then: str) -> tuple[str, ...]:
    """A command that leaves one line each time it is begun."""
    return script(path.with_suffix(".py"), f"open({str(path)!r}, 'a').write('x')\n{then}")


# Commands.


def test_a_command_is_told_everything_and_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "ours")
    seen = tmp_path / "seen.json"
    told = script(
        tmp_path / "hook.py",
        f"""import json, os, sys
positions = open(os.environ['CUTOVER_POSITIONS_FILE']).read()
json.dump([json.load(sys.stdin), dict(os.environ), positions, os.getcwd()], open({str(seen)!r}, 'w'))""",
    )
    spec = replace(by_commands(start_target=told), env={"COLOUR": "blue"}, folder=str(tmp_path))
    assert hook.call(spec, ERRAND) == Done(0)
    document, environment, positions, folder = json.loads(seen.read_text())
    assert document["positions"] == {"0": 5, "1": 7, "2": 0, "3": 9}
    assert (document["verb"], document["side"], document["target"]["id"]) == ("start_target", "target", "T" * 22)
    assert document["idempotency_key"] == environment["CUTOVER_IDEMPOTENCY_KEY"] == "orders-6-to-24:start:balances:0:2"
    assert (environment["CUTOVER_TOPIC"], environment["CUTOVER_NAME"], environment["COLOUR"]) == ("orders.v2", "balances", "blue")
    assert "DATABASE_PASSWORD" not in environment
    assert {name for name in environment if not name.startswith("CUTOVER_")} <= {"PATH", "HOME", "LANG", "COLOUR", "LC_CTYPE"}
    assert positions == "orders.v2,0,5\norders.v2,1,7\norders.v2,2,0\norders.v2,3,9\n"
    assert folder == str(tmp_path)
    assert not Path(environment["CUTOVER_POSITIONS_FILE"]).exists()


def test_no_shell_reads_the_words_of_a_command(tmp_path: Path) -> None:
    program = script(tmp_path / "hook.py", "import sys; print(sys.argv[1:])")
    assert hook.call(by_commands(start_target=(*program, "$HOME", "; exit 3")), ERRAND) == Done(0, "['$HOME', '; exit 3']\n")


def test_a_command_that_says_no_has_failed_with_its_last_words(tmp_path: Path) -> None:
    command = script(tmp_path / "hook.py", "import sys; print('unit not found'); sys.exit(5)")
    assert hook.settled(by_commands(start_target=command), ERRAND) == Failed(5, "unit not found\n")


def test_a_command_that_cannot_be_begun_has_failed() -> None:
    result = hook.call(by_commands(start_target=("/nowhere/hook",)), ERRAND)
    assert isinstance(result, Failed)
    assert result.status is None
    assert "cannot be run" in result.why


def test_a_verb_that_the_plan_does_not_name_is_refused_before_anything_runs() -> None:
    with pytest.raises(HookUnusable, match="start_target"):
        hook.call(HookSpec(), ERRAND)


def test_a_command_past_its_time_is_killed_with_its_children_and_its_outcome_is_unknown(tmp_path: Path, wait_until: WaitUntil) -> None:
    child = tmp_path / "child.pid"
    command = script(
        tmp_path / "hook.py",
        f"""import subprocess, sys
open({str(child)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))
print('begun', flush=True)
import time; time.sleep(600)""",
    )
    result = hook.call(by_commands(1.0, start_target=command), ERRAND)
    assert isinstance(result, Unknown)
    assert (result.tail, "killed" in result.why) == ("begun\n", True)
    wait_until(lambda: not is_running(int(child.read_text())), 10, "the child is gone too")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_command_killed_by_somebody_is_unknown(tmp_path: Path) -> None:
    command = script(tmp_path / "hook.py", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    result = hook.call(by_commands(start_target=command), ERRAND)
    assert isinstance(result, Unknown)
    assert "SIGKILL" in result.why


def test_a_service_that_keeps_the_output_open_is_not_waited_for(tmp_path: Path) -> None:
    command = script(tmp_path / "hook.py", "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)")
    began = time.monotonic()
    result = hook.call(by_commands(60.0, start_target=command), ERRAND)
    assert isinstance(result, Done)
    os.kill(int(result.tail), 9)
    assert time.monotonic() - began < 20 * SLOW_MACHINE


def test_output_without_end_is_kept_to_its_last_four_kibibytes(tmp_path: Path) -> None:
    command = script(tmp_path / "hook.py", "import sys; sys.stdout.write('y' * 3_000_000 + 'the end')")
    result = hook.call(by_commands(start_target=command), ERRAND)
    assert isinstance(result, Done)
    assert (len(result.tail), result.tail.endswith("the end")) == (MOST_BYTES, True)


def test_when_the_lease_is_lost_the_command_is_ended(tmp_path: Path, wait_until: WaitUntil) -> None:
    pid = tmp_path / "pid"
    command = script(tmp_path / "hook.py", f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)")

    def beat() -> None:
        if pid.exists() and pid.read_text():
            raise LeaseExpired("the lease is over")

    with pytest.raises(LeaseExpired):
        hook.call(by_commands(60.0, start_target=command), ERRAND, beat)
    wait_until(lambda: not is_running(int(pid.read_text())), 10, "it is gone")


# What is in doubt.


@pytest.mark.parametrize(
    ("verb", "code", "expected"),
    [
        ("start_target", 0, Done),
        ("start_target", 1, Failed),
        ("start_target", 3, Failed),
        ("stop_source", 0, Failed),
        ("stop_source", 1, Done),
        ("stop_source", 3, Done),
    ],
)
def test_a_check_decides_what_became_of_a_verb_in_doubt(tmp_path: Path, verb: Verb, code: int, expected: type[Result]) -> None:
    begun = tmp_path / "begun"
    checking = script(tmp_path / "check.py", f"import os, sys; sys.exit({code} if os.environ['CUTOVER_IN_DOUBT'] == '{verb}' else 9)")
    spec = by_commands(1.0, **{verb: counting(begun, "import time; time.sleep(600)"), "check": checking})
    side = Side.SOURCE if verb == "stop_source" else Side.TARGET
    assert isinstance(hook.settled(spec, replace(ERRAND, verb=verb, side=side)), expected)
    assert begun.read_text() == "x"


@pytest.mark.parametrize("code", [2, 4, 127])
def test_a_check_that_cannot_tell_leaves_the_decision_to_a_person(tmp_path: Path, code: int) -> None:
    checking = script(tmp_path / "check.py", f"import sys; sys.exit({code})")
    with pytest.raises(HookUnknown) as raised:
        hook.settle(by_commands(check=checking), ERRAND, Unknown("it was killed"))
    assert raised.value.exit_code == 7
    assert "cutover confirm orders-6-to-24 balances started" in raised.value.next


def test_without_a_check_a_verb_in_doubt_is_begun_once_and_never_again(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with pytest.raises(HookUnknown):
        hook.settled(by_commands(0.5, start_target=counting(begun, "import time; time.sleep(600)")), ERRAND)
    assert begun.read_text() == "x"


# Addresses.


@dataclass
class Listening:
    """A server that answers what it is told to, and keeps what it was sent."""

    answers: list[tuple[int, bytes]] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    breaks: bool = False
    url: str = ""


@pytest.fixture
def listening() -> Iterator[Listening]:
    made = Listening()

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append((dict(self.headers.items()), body))
            if made.breaks and json.loads(body)["verb"] != "check":
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, content = made.answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if status == 302:
                self.send_header("Location", made.url)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    made.url = f"http://127.0.0.1:{server.server_port}/hook"
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield made
    server.shutdown()
    serving.join()
    server.server_close()


MakeSpec = Callable[..., HookSpec]


@pytest.fixture
def posted(listening: Listening, tmp_path: Path) -> MakeSpec:
    secret = tmp_path / "key"
    secret.write_text("first-key\n")

    def make(**more: object) -> HookSpec:
        return HookSpec(url=listening.url, secret=f"file:{secret}", **more)  # type: ignore[arg-type]

    return make


def test_what_is_posted_is_signed_over_time_and_body_with_the_secret_of_that_moment(
    listening: Listening, posted: MakeSpec, tmp_path: Path
) -> None:
    listening.answers = [(200, b"ok"), (204, b"")]
    assert hook.call(posted(), ERRAND) == Done(200, "ok")
    (tmp_path / "key").write_text("second-key")
    assert hook.call(posted(), ERRAND) == Done(204, "")
    for (headers, body), key in zip(listening.got, (b"first-key", b"second-key"), strict=True):
        expected = hmac.new(key, headers["Cutover-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
        assert headers["Cutover-Signature"] == f"sha256={expected}"
        assert abs(int(headers["Cutover-Timestamp"]) - time.time()) < 60
        assert headers["Idempotency-Key"] == json.loads(body)["idempotency_key"] == ERRAND.idempotency_key
        assert json.loads(body)["positions"] == {"0": 5, "1": 7, "2": 0, "3": 9}


@pytest.mark.parametrize(
    ("status", "expected"), [(200, Done), (302, Failed), (400, Failed), (409, Failed), (408, Unknown), (500, Unknown), (503, Unknown)]
)
def test_a_status_is_believed_only_where_it_leaves_no_doubt(
    listening: Listening, posted: MakeSpec, status: int, expected: type[Result]
) -> None:
    listening.answers = [(status, b"words")]
    assert isinstance(hook.call(posted(), ERRAND), expected)
    assert len(listening.got) == 1


def test_an_address_where_nobody_listens_was_sent_nothing(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    result = hook.call(HookSpec(url="http://127.0.0.1:9/hook", secret=f"file:{tmp_path / 'key'}"), ERRAND)
    assert isinstance(result, Failed)
    assert "nothing was sent" in result.why


@pytest.mark.parametrize(("answer", "expected"), [(b'{"running": true}', Done), (b'{"running": false}', Failed)])
def test_a_connection_that_breaks_after_sending_is_settled_by_asking(
    listening: Listening, posted: MakeSpec, answer: bytes, expected: type[Result]
) -> None:
    listening.breaks, listening.answers = True, [(200, answer)]
    assert isinstance(hook.settled(posted(), ERRAND), expected)
    assert [json.loads(body)["verb"] for _, body in listening.got] == ["start_target", "check"]


@pytest.mark.parametrize("answer", [b"yes", b'{"running": "true"}', b"[]"])
def test_an_address_that_does_not_say_clearly_whether_it_runs_leaves_the_decision_to_a_person(
    listening: Listening, posted: MakeSpec, answer: bytes
) -> None:
    listening.breaks, listening.answers = True, [(200, answer)]
    with pytest.raises(HookUnknown):
        hook.settled(posted(), ERRAND)


def test_an_answer_that_never_comes_is_unknown_and_the_beat_goes_on(listening: Listening, posted: MakeSpec) -> None:
    answered, beats = threading.Event(), [0]

    class Late(list[tuple[int, bytes]]):
        def pop(self, _: int = 0) -> tuple[int, bytes]:  # type: ignore[override]
            answered.wait(60)
            return 200, b""

    def beat() -> None:
        beats[0] += 1

    listening.answers = Late()
    result = hook.call(posted(timeout_seconds=0.5), ERRAND, beat)
    answered.set()
    assert isinstance(result, Unknown)
    assert beats[0] > 3


@pytest.mark.parametrize("url", ["http://example.com/hook", "http://10.0.0.1/", "ftp://127.0.0.1/", "http://localhost.example.com/"])
def test_nothing_is_posted_in_the_open_to_another_host(url: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    with pytest.raises(HookUnusable):
        hook.call(HookSpec(url=url, secret=f"file:{tmp_path / 'key'}"), ERRAND)


def test_a_secret_that_is_not_there_stops_the_call(listening: Listening) -> None:
    with pytest.raises(SecretUnavailable):
        hook.call(HookSpec(url=listening.url, secret="env:CUTOVER_TEST_NOWHERE"), ERRAND)
    assert listening.got == []


def test_an_answer_that_repeats_the_secret_is_kept_without_it(listening: Listening, posted: MakeSpec) -> None:
    listening.answers = [(200, b"got first-key")]
    assert hook.call(posted(), ERRAND) == Done(200, "got ***")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("db_password=hunter2 ok", "db_password=*** ok"),
        ('{"api_key": "abc def", "n": 1}', '{"api_key": ***, "n": 1}'),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("at https://user:word@host/x", "at https://***@host/x"),
        ("5 tokens left", "5 tokens left"),
    ],
)
def test_what_looks_like_a_secret_is_not_kept(said: str, kept: str) -> None:
    assert tail(said.encode()) == kept
