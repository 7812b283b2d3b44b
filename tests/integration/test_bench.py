"""The benchmarks themselves: a small run of everything, so that they cannot rot between two real ones."""

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parent.parent / "bench" / "run.py"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="CPU and memory of processes are read from /proc")
def test_a_small_run_measures_every_subject_and_the_audit_proves_its_copies(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    done = subprocess.run([sys.executable, RUN, "--quick", "--page", page], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = page.read_text()
    for heading in ("Targets", "Copying", "Audit", "Latency", "Memory", "Translate"):
        assert f"## {heading}" in written
    assert written.count("Not measured in this run") == 1, "the strategies alone, which make demo plays"
    assert done.stderr.count("proved") == 2, "one audited copy per codec"
