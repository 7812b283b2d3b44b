"""Finds the engine binary and asks for its version."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cutover import __version__
from cutover.errors import EngineMissing

VERSION_SECONDS = 10.0
_UNSTAMPED = "unknown"  # what `go build` by hand leaves


def find(environment: Mapping[str, str] | None = None) -> Path:
    """The engine to run: CUTOVER_ENGINE, else the one inside the package; EngineMissing when neither can be run."""
    chosen = (os.environ if environment is None else environment).get("CUTOVER_ENGINE")
    if chosen:
        return _runnable(Path(chosen), why="CUTOVER_ENGINE points there.", advice="Correct or unset CUTOVER_ENGINE.")
    name = "cutover-engine.exe" if os.name == "nt" else "cutover-engine"
    return _runnable(Path(__file__).parent / "bin" / name, why="This installation of cutover carries no engine for this platform.")


def _runnable(path: Path, *, why: str, advice: str = "") -> Path:
    if not path.is_file():
        raise EngineMissing(f"there is no engine at {path}", why=why, advice=advice, path=str(path))
    if not os.access(path, os.X_OK):
        raise EngineMissing(f"{path} is not executable", why=why, advice=advice or f"Run: chmod +x {path}", path=str(path))
    return path


def version(binary: Path) -> str:
    """What the binary says of itself; EngineMissing when it cannot be run or says nothing."""
    try:
        said = subprocess.run([str(binary), "version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineMissing(f"{binary} cannot be run here", why=str(error), path=str(binary)) from error
    words = said.stdout.strip()
    if said.returncode != 0 or not words:
        raise EngineMissing(
            f"{binary} does not say its version",
            why=said.stderr.strip()[-500:] or f"It ended with exit code {said.returncode}.",
            path=str(binary),
        )
    return words


def check_version(binary: Path) -> str:
    """The version of the binary; EngineMissing when it is stamped with another one than this package."""
    found = version(binary)
    if found not in {__version__, _UNSTAMPED}:
        raise EngineMissing(
            f"the engine at {binary} is of version {found}, cutover is {__version__}",
            why="The two sides of the contract are released together.",
            path=str(binary),
            found=found,
            wanted=__version__,
        )
    return found
