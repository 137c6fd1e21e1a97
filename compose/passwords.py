"""The stack's passwords: made once, kept in .secrets as one file each, and the agents' part of them in .env.

A container sees a secret as a file of a read-only mount. The files are readable for the containers' user, the folder is
not for anybody else of this host.
"""

import hashlib
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from services.hub.credentials import Hub, acl, keep_credentials, read_env, write_private

FILES = ("database_password", "mlflow_admin_password", "mlflow_viewer_password", "mlflow_session_key")
HUB_PASSWORDS = ("HUB_AGENT_PASSWORD", "HUB_WORKER_PASSWORD")


def keep_hub_secrets(folder: Path, env_file: Path, hub: Hub, asks_for_password: bool) -> None:
    """For a host that is the hub, and for its own worker, which reaches it by the names of the stack's network."""
    kept = {name: kept_or_new(folder / name) for name in FILES}
    login = f"admin:{kept['mlflow_admin_password']}@" if asks_for_password else ""
    credentials = keep_credentials(env_file, hub, login)
    kept |= {
        "redis_users": acl(credentials),
        "are_redis_url": f"redis://agent:{credentials.agent}@redis:6379/0",
        "are_worker_redis_url": f"redis://worker:{credentials.worker}@redis:6379/0",
        "are_tracking_uri": f"http://{login}mlflow:5000",
    }
    write(folder, kept)


def keep_worker_secrets(folder: Path, env_file: Path, host: str) -> None:
    """For a host with workers only: the hub's .env lies in this checkout. ValueError when it does not."""
    there = read_env(env_file)
    names = ("ARE_REDIS_URL", "ARE_WORKER_REDIS_URL", "ARE_TRACKING_URI")
    if missing := [name for name in names if name not in there]:
        raise ValueError(f"{env_file} has no {', '.join(missing)}: copy the hub's .env here (mode 600)")
    write(folder, {name.lower(): at_host(there[name], host) for name in names})


def at_host(url: str, host: str) -> str:
    """The same address on another host; ports stay. ValueError when the host has one."""
    if ":" in host:
        raise ValueError(f"HUB={host}: give the host alone, ports are in the hub's .env")
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{login}{'@' if login else ''}{host}:{parts.port}").geturl()


def forget_passwords(folder: Path, env_file: Path) -> None:
    """The next `up` makes new ones; addresses and other lines stay."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    if env_file.exists():
        kept = [line for line in env_file.read_text().splitlines() if line.split("=", 1)[0] not in HUB_PASSWORDS]
        write_private(env_file, "".join(f"{line}\n" for line in kept))


def digest_of(folder: Path) -> str:
    """Changes when the content of a secret does; says nothing of it."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def kept_or_new(path: Path) -> str:
    return path.read_text() if path.exists() and path.read_text() else secrets.token_urlsafe(24)


def write(folder: Path, files: dict[str, str]) -> None:
    """In place: a running container's mount holds on to the file it was given."""
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    for name, content in files.items():
        path = folder / name
        if path.exists():
            path.chmod(0o600)
        path.write_text(content)
        path.chmod(0o444)
