"""How the benchmarks turn what was seen into figures: a wrong formula would be believed."""

import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest

from cutover.engine.configuration import MirrorConfiguration

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="CPU and memory of processes are read from /proc")

if sys.platform == "linux":
    from tests.bench import audit, report, run, streams
    from tests.bench.copies import Copy, Sample, moments
    from tests.bench.measured import Watched
    from tests.bench.results import Results, Spread, targets

SEEN = ((10.0, 0, 0), (11.0, 40, 0), (11.5, 80, 30), (12.0, 120, 60), (13.0, 210, 100))


def copied(seconds: float, cpu_seconds: float = 1.0) -> "Copy":
    return Copy(1000, seconds, 500, seconds / 4, seconds + 1, cpu_seconds, cpu_seconds / 2, 100_000_000, 2.0, 0.1)


def test_the_clock_runs_from_the_first_record_on_the_follower_to_the_last_committed_position() -> None:
    found = moments([Sample(*each) for each in SEEN], 100)
    assert found.end.at - found.first.at == 2.0
    assert found.half.at == 12.0
    assert found.half.committed == 60


@pytest.mark.parametrize("seen", [SEEN[2:], SEEN[:-1]], ids=["came too late", "left too early"])
def test_a_watch_that_does_not_cover_the_copy_is_refused(seen: tuple[tuple[float, int, int], ...]) -> None:
    with pytest.raises(ValueError, match="the watch"):
        moments([Sample(*each) for each in seen], 100)


def test_ratios_are_taken_round_by_round() -> None:
    found = Results(1000)
    found.copies[("none", "mirror-1")] = [copied(1.0), copied(4.0), copied(2.0)]
    found.copies[("none", "streams")] = [copied(2.0), copied(12.0), copied(2.0)]
    assert found.ratio("none", "mirror-1", "streams", lambda each: each.rate) == Spread(1.0, 2.0, 3.0)
    assert found.ratio("lz4", "mirror-1", "streams", lambda each: each.rate) is None


def test_a_missed_target_is_called_missed_and_an_unmeasured_one_is_not_called_met() -> None:
    found = Results(1000)
    found.copies[("none", "mirror-1")], found.copies[("none", "streams")] = [copied(1.0, 0.9)], [copied(3.0, 1.0)]
    verdicts = {each.what: each.verdict for each in targets(found)}
    assert verdicts["one worker over Kafka Streams, none"] == "met"
    assert verdicts["its CPU per record over that of Kafka Streams, none"] == "MISSED"
    assert verdicts["one worker over Kafka Streams, lz4"] == "not measured"


def test_a_page_of_nothing_claims_nothing() -> None:
    found = Results(1000, streams_missing="there is no JDK with javac here")
    written = report.page(found)
    assert "there is no JDK with javac here" in written
    assert " met " not in written


@pytest.mark.parametrize(("result", "records"), [("violated", 1000), ("unproved", 1000), ("proved", 999)])
def test_a_copy_that_is_not_proved_whole_ends_the_run(monkeypatch: pytest.MonkeyPatch, result: str, records: int) -> None:
    monkeypatch.setattr(audit, "judge", lambda _config: audit.Judged(result, records, 2 * records, 1.0, 1.0, 1))
    with pytest.raises(SystemExit, match="did not prove"):
        run.proof(cast("MirrorConfiguration", None), 1000)


def test_without_a_compiler_kafka_streams_is_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert streams.build(tmp_path) == "there is no JDK with javac here"


def test_what_a_process_used_is_its_cpu_and_its_highest_memory() -> None:
    program = (
        "import time; kept = bytearray(80_000_000); began = time.process_time()\nwhile time.process_time() - began < 0.4: pass\ninput()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as process, Watched([process.pid]) as watched:
        deadline = time.monotonic() + 90
        while watched.usage().cpu_seconds < 0.4 and time.monotonic() < deadline:
            time.sleep(0.02)
        used = watched.usage()
        process.kill()
    assert 0.4 <= used.cpu_seconds < 2
    assert 80_000_000 < used.peak_bytes < 160_000_000
