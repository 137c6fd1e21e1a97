"""Writes the file with which launchd or systemd keeps a worker running. It holds no password: the worker reads .env."""

import os
import plistlib
import shlex
import sys
from pathlib import Path

from shared.files import write_atomic
from shared.settings import CHECKOUT

LABEL = "autoresearch-worker"


KEPT_ENVIRONMENT = ("ARE_HOME", "ARE_RUNS", "ARE_ENV_FILE", "ARE_TRACKING_URI", "HF_ENDPOINT", "PATH")
"""of the shell that installs, without passwords: launchd and systemd start programs with almost nothing"""
PATHS = ("ARE_HOME", "ARE_RUNS", "ARE_ENV_FILE")
GUARDED = ("Documents", "Desktop", "Downloads")
"""folders of a Mac that a program without a window may not read until its owner allows it"""


def write_service_file(command: list[str]) -> str:
    """Writes the file for the current user; returns what to tell them."""
    start = [str(Path(command[0]).with_name("autoresearch")), "worker", *command[3:]]
    if sys.platform == "darwin":
        path = Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        content: bytes | str = launchd_plist(start)
        hints = launchd_hints(path, CHECKOUT)
    else:
        path = Path.home() / ".config" / "systemd" / "user" / f"{LABEL}.service"
        content = systemd_unit(start)
        hints = [f"to start the worker, run: systemctl --user enable --now {LABEL}"]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content)
    return "\n".join([f"wrote {path}", *hints])


def launchd_hints(path: Path, checkout: Path) -> list[str]:
    hints = [
        f"to start the worker, run: launchctl bootstrap gui/$UID {shlex.quote(str(path))}",
        f"to stop it for good, or before it starts with a changed file, run: launchctl bootout gui/$UID/{LABEL}",
        "it runs while you are logged in at the screen: Metal needs that session, an ssh login alone has none",
    ]
    guarded = next((name for name in GUARDED if checkout.is_relative_to(Path.home() / name)), None)
    if guarded:
        hints.append(
            f"WARNING: {checkout} lies in ~/{guarded}, which macOS closes to background programs: move the checkout, "
            "or give Python Full Disk Access in System Settings"
        )
    return hints


def launchd_plist(start: list[str]) -> bytes:
    """`Interactive`, because macOS slows other jobs down. No restart after a clean end, so that drain works; launchd
    knows no other exit codes, so with --service bad input, which would only come again, is a clean end too."""
    log = str(Path.home() / "Library" / "Logs" / f"{LABEL}.log")
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": [*start, "--service"],
            "WorkingDirectory": str(CHECKOUT),
            "EnvironmentVariables": kept_environment(),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            "ProcessType": "Interactive",
            "ExitTimeOut": 7200,
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
    )


def kept_environment() -> dict[str, str]:
    """Paths as this shell means them, since the worker starts in the checkout; no address with a password in it."""
    values = {name: os.environ[name] for name in KEPT_ENVIRONMENT if os.environ.get(name)}
    paths = {name: str(Path(values[name]).absolute()) for name in PATHS if name in values}
    return {name: value for name, value in (values | paths).items() if not ("://" in value and "@" in value)}


def systemd_unit(start: list[str]) -> str:
    """systemd sends SIGTERM to the worker alone, so that it can finish its attempt."""
    environment = "\n".join(f'Environment="{name}={_escaped(value)}"' for name, value in kept_environment().items())
    return f"""[Unit]
Description=autoresearch worker

[Service]
WorkingDirectory={CHECKOUT}
{environment}
ExecStart={shlex.join(start)}
Restart=on-failure
RestartPreventExitStatus=2
RestartSec=2
KillMode=mixed
TimeoutStopSec=7200

[Install]
WantedBy=default.target
"""


def _escaped(text: str) -> str:
    """Inside quotes of a unit file: systemd reads % as the start of a specifier."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
