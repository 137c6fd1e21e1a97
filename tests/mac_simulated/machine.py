"""A Mac that is none: an environment whose Python shows macOS to the project, with stand-ins for macOS's programs.

    mac = make_mac(folder);  mac.run("autoresearch", "doctor")

What it shows: which ways the code takes on a Mac, and that they end well. What it cannot show: Metal, launchd, the real
sandbox, the real clock of a lid that was closed (docs/validation/mac.md).

To find tests that would be red on a Mac: `mac.python -m pytest --assert=plain FILE` in `mac.environment` with
SIMULATED_MAC_OF_TESTS=1. Tests see macOS too then; pytest's rewriting of asserts would import them past the simulation.
"""

import os
import site
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from shared.settings import CHECKOUT

DISPLAYS = '{"SPDisplaysDataType": [{"sppci_model": "Apple M5", "sppci_cores": "10"}]}'
NESTED = '[ -z "$SIMULATED_SEATBELT_PROFILE" ] || { echo "sandbox_apply: Operation not permitted" >&2; exit 71; }'
PROGRAMS = {
    "sysctl": '[ "$2" = hw.memsize ] && echo 34359738368 || echo "Apple M5"',
    "system_profiler": f"echo '{DISPLAYS}'",
    "sw_vers": 'echo "15.5"',
    "caffeinate": 'for last; do :; done; while kill -0 "$last" 2>&-; do sleep 0.2; done',  # -w PID
    "launchctl": "exit 0",
    "sandbox-exec": f'{NESTED}; export SIMULATED_SEATBELT_PROFILE="$2"; shift 2; exec "$@"',
}


@dataclass(frozen=True)
class Mac:
    prefix: Path

    @property
    def python(self) -> str:
        return str(self.prefix / "bin" / "python3")

    @property
    def environment(self) -> dict[str, str]:
        """With HOME in the machine, so that a plist lands there."""
        path = f"{self.prefix}/stand-ins:{self.prefix}/bin:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "HOME": str(self.prefix / "home"), "PYTHONPATH": str(CHECKOUT)}

    def argv(self, *command: str) -> list[str]:
        """`autoresearch ...` of this checkout, or any module."""
        start = "from services.console.main import main; main()"
        return [self.python, "-c", start, *command]

    def run(self, *command: str, timeout_s: float = 120.0, **env: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.argv(*command), env={**self.environment, **env}, capture_output=True, text=True, timeout=timeout_s,
            cwd=CHECKOUT, check=False,
        )  # fmt: skip

    def calls(self, program: str) -> list[str]:
        """Arguments of each call of a stand-in."""
        log = self.prefix / "calls" / program
        return log.read_text().splitlines() if log.exists() else []


def make_mac(folder: Path) -> Mac:
    """An environment in `folder` with the packages of the running one."""
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    for place in (folder / "bin", folder / "stand-ins", folder / "calls", folder / "home", packages):
        place.mkdir(parents=True)
    (folder / "bin" / "python3").symlink_to(os.path.realpath(sys.executable))
    (folder / "pyvenv.cfg").write_text(f"home = {Path(os.path.realpath(sys.executable)).parent}\n")
    real = next(path for path in site.getsitepackages() if path.startswith(sys.prefix))
    here = Path(__file__).parent
    (packages / "mac.pth").write_text(f"{here}\nimport site; site.addsitedir({real!r}); import simulated_macos\n")
    for name, script in PROGRAMS.items():
        program = folder / "stand-ins" / name
        program.write_text(f'#!/bin/sh\necho "$*" >> "{folder}/calls/{name}" 2>/dev/null\n{script}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    command = folder / "bin" / "autoresearch"
    command.write_text(f"#!{folder}/bin/python3\nfrom services.console.main import main; main()\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return Mac(folder)
