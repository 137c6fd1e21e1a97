"""macOS: sandbox-exec with a profile that denies the network, writing, and reading where people keep files.

Everything else is allowed, because what Metal's compiler and driver need is not documented; this is weaker than
Linux (docs/security.md). Not tested on a Mac yet: docs/validation/mac.md.
"""

import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from shared.sandbox.policy import Policy

PROGRAM = "/usr/bin/sandbox-exec"
CANNOT_NEST = 71
"""exit code of sandbox-exec in a process that is in a sandbox already, as agents' shells are"""
DATA_VOLUME = Path("/System/Volumes/Data")
"""the same files under a second name: /Users is /System/Volumes/Data/Users"""
_PRIVATE: tuple[str, ...] = (
    "/Users",
    "/Volumes",
    "/private/tmp",
    "/private/var/tmp",
    "/private/var/folders",
    "/private/var/root",
)
# Where the system writes what a process logs or leaves when it dies: one recipe would log it, the next would read it.
_PRIVATE += ("/private/var/log", "/private/var/db/diagnostics", "/private/var/db/uuidtext", "/cores")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/dtracehelper")
# Services that keep something for the next process that asks: settings, the clipboard, notifications, the keychain.
_MEMORIES: tuple[str, ...] = ("com.apple.cfprefsd.agent", "com.apple.cfprefsd.daemon", "com.apple.pasteboard.1")
_MEMORIES += ("com.apple.distributed_notifications@1v3", "com.apple.distributed_notifications@Uv3")
_MEMORIES += (
    "com.apple.system.notification_center",
    "com.apple.SecurityServer",
    "com.apple.securityd",
    "com.apple.secd",
)
# Services that read for whoever asks: the search index, the live log, mounted images.
_READERS = ("com.apple.metadata.mds", "com.apple.diagnosticd", "com.apple.DiskArbitration.diskarbitrationd")


def wrap(argv: Sequence[str], policy: Policy) -> list[str]:
    return [PROGRAM, "-p", profile(policy), *argv]


@cache
def nests() -> bool:
    """Whether a sandbox can be entered from here."""
    tried = subprocess.run(
        [PROGRAM, "-p", "(version 1)(allow default)", "/usr/bin/true"], capture_output=True, check=False
    )
    return tried.returncode != CANNOT_NEST


def spellings(path: Path) -> list[Path]:
    """All names of a file on macOS's two volumes."""
    absolute = path.absolute()
    if absolute.is_relative_to(DATA_VOLUME):
        return [absolute, Path("/") / absolute.relative_to(DATA_VOLUME)]
    return [absolute, DATA_VOLUME / absolute.relative_to("/")]


def profile(policy: Policy) -> str:
    """The text in the profile language; of several rules that match, the last one counts."""
    # names and sizes stay visible everywhere: Python and dyld look at every folder above a file they open
    lines = [
        "(version 1)",
        "(allow default)",
        "(deny network*)",
        "(deny file-write*)",
        *_reading(policy),
        f"(allow file-write* {_literals(_DEVICES)})",
        # programs outside the fence that would act for the recipe, or keep something for the next one
        "(deny appleevent-send)",
        "(deny lsopen)",
        "(deny job-creation)",
        "(deny mach-priv-task-port)",
        "(deny user-preference-write)",
        f"(deny mach-lookup {' '.join(f'(global-name {_quoted(name)})' for name in (*_MEMORIES, *_READERS))})",
        "(deny mach-register)",
        # Metal's compiler runs outside the fence and reads what its caller hands on: #include of a closed file
        "(deny file-issue-extension)",
        "(deny ipc-posix-shm-write*)",
        "(deny ipc-sysv*)",
        "(deny iokit-set-properties)",
        "(deny system-socket)",
        # others' arguments and environments, which hold passwords; no deny with a target: macOS passes over it
        '(deny sysctl-read (sysctl-name-prefix "kern.procargs"))',
        "(deny process-info*)",
        "(allow process-info* (target same-sandbox))",
        "(deny signal)",
        "(allow signal (target same-sandbox))",
    ]
    if policy.writable:
        lines.append(f"(allow file-write* {_subpaths(policy.writable)})")
        lines.append(_handing_on(policy.writable))
    lines.append("(deny file-write-setugid)")
    return "\n".join(lines) + "\n"


def _reading(policy: Policy) -> list[str]:
    """Deeper paths come later, so that the most exact rule counts: /System is readable, but not the homes in it."""
    denied = [*map(Path, _PRIVATE), DATA_VOLUME, *policy.protected]
    rules = [(path, "deny") for path in denied] + [(path, "allow") for path in (*policy.readable, *policy.writable)]
    rules.sort(key=lambda rule: len(rule[0].parts))  # of one path both ways, what was named counts
    # attributes too: a compressed file's content is one, and so is a resource fork
    lines = [f"({verb} file-read-data file-read-xattr {_subpaths([path])})" for path, verb in rules]
    if folders := {path.parent for path in policy.readable if (path / "__init__.py").is_file()}:
        # Python finds a package by listing the folder around it
        lines.append(f"(allow file-read-data {_literals(map(str, sorted(folders)))})")
    return lines


def _handing_on(paths: Sequence[Path]) -> str:
    """What a process may open itself it may have Metal's compiler open, which is handed the folder of its cache. WebKit
    allows that of its cache and no more; Chromium allows every file, and calls that broader than it would like."""
    kinds = " ".join(f'(extension-class "com.apple.app-sandbox.{kind}")' for kind in ("read", "read-write"))
    what = f"(require-any {kinds}) (require-not (vnode-type SYMLINK)) (require-any {_subpaths(paths)})"
    return f"(allow file-issue-extension (require-all {what}))"


def _subpaths(paths: Iterable[Path]) -> str:
    return " ".join(f"(subpath {_quoted(str(path))})" for path in paths)


def _literals(paths: Iterable[str]) -> str:
    return " ".join(f"(literal {_quoted(path)})" for path in paths)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
