"""The demo plays to its end, and its end is a green audit of every acknowledged record."""

import json
import re
import subprocess
import sys

import pytest


@pytest.mark.kafka
@pytest.mark.xdist_group("embedded")
def test_the_demo_ends_with_every_acknowledged_record_proved() -> None:
    told = subprocess.run([sys.executable, "-m", "cutover", "demo", "--json"], capture_output=True, text=True, timeout=150, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    said = [line["said"] for line in map(json.loads, told.stdout.splitlines()) if "said" in line]
    acknowledged = re.search(r"([\d,]+) records acknowledged, 0 failed", "\n".join(said))
    assert acknowledged is not None
    assert said[-1].startswith(f"audit: green. All {acknowledged[1]} acknowledged records")
    assert any("killed with -9" in each for each in said)
    assert any("zombie was refused" in each for each in said)
