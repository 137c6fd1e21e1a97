"""macOS: sandbox-exec with a profile that denies the network, writing, and reading where people keep files.

Everything else is allowed, because what Metal's compiler and driver need is not documented; this is weaker than
Linux (docs/security.md). Not tested on a Mac yet: docs/validation/mac.md.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from shared.sandbox.policy import Policy

PROGRAM = "/usr/bin/sandbox-exec"
_PRIVATE = ("/Users", "/Volumes", "/private/tmp", "/private/var/tmp", "/private/var/folders", "/private/var/root")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/dtracehelper")


def wrap(argv: Sequence[str], policy: Policy) -> list[str]:
    return [PROGRAM, "-p", profile(policy), *argv]


def profile(policy: Policy) -> str:
    """The text in the profile language; of several rules that match, the last one counts."""
    # names and sizes stay visible everywhere: Python and dyld look at every folder above a file they open
    lines = [
        "(version 1)",
        "(allow default)",
        "(deny network*)",
        "(deny file-write*)",
        f"(deny file-read-data {_subpaths((*map(Path, _PRIVATE), *policy.protected))})",
        f"(allow file-read-data {_subpaths((*policy.readable, *policy.writable))})",
        f"(allow file-write* {_literals(_DEVICES)})",
        # programs outside the fence that would act for the recipe
        "(deny appleevent-send)",
        "(deny lsopen)",
        "(deny job-creation)",
        "(deny mach-priv-task-port)",
        "(deny signal)",
        "(allow signal (target same-sandbox))",
    ]
    if policy.writable:
        lines.append(f"(allow file-write* {_subpaths(policy.writable)})")
    return "\n".join(lines) + "\n"


def _subpaths(paths: Iterable[Path]) -> str:
    return " ".join(f"(subpath {_quoted(str(path))})" for path in paths)


def _literals(paths: Iterable[str]) -> str:
    return " ".join(f"(literal {_quoted(path)})" for path in paths)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
