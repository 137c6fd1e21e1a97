"""Writes the file with which launchd or systemd keeps a worker running. It holds no password: the worker reads .env."""

import plistlib
import shlex
import sys
from pathlib import Path

from shared.files import write_atomic
from shared.settings import CHECKOUT

LABEL = "autoresearch-worker"


def write_service_file(command: list[str]) -> str:
    """Writes the file for the current user; returns what to tell them."""
    start = [str(Path(command[0]).with_name("autoresearch")), "worker", *command[3:]]
    if sys.platform == "darwin":
        path = Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        content, next_step = launchd_plist(start), f"launchctl bootstrap gui/$UID {path}"
    else:
        path = Path.home() / ".config" / "systemd" / "user" / f"{LABEL}.service"
        content, next_step = systemd_unit(start), f"systemctl --user enable --now {LABEL}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content)
    return f"wrote {path}\nto start the worker, run: {next_step}"


def launchd_plist(start: list[str]) -> bytes:
    """`Interactive`, because macOS slows other jobs down. No restart after a clean end, so that drain works."""
    log = str(Path.home() / "Library" / "Logs" / f"{LABEL}.log")
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": start,
            "WorkingDirectory": str(CHECKOUT),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ProcessType": "Interactive",
            "ExitTimeOut": 7200,
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
    )


def systemd_unit(start: list[str]) -> str:
    """systemd sends SIGTERM to the worker alone, so that it can finish its attempt."""
    return f"""[Unit]
Description=autoresearch worker

[Service]
WorkingDirectory={CHECKOUT}
ExecStart={shlex.join(start)}
Restart=on-failure
RestartSec=2
KillMode=mixed
TimeoutStopSec=7200

[Install]
WantedBy=default.target
"""
