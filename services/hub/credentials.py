"""Who may do what on the hub's queue, and the .env that holds the passwords.

An agent may enqueue, read and ask for a cancel. A worker may do everything with jobs, and nothing with the server.
There is no other user.
"""

import hashlib
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from shared.files import sync

LOOPBACK = ("127.0.0.1", "::1", "localhost")
AGENT_COMMANDS = (
    "hello auth ping time select info multi exec discard client|setname client|info client|id "
    "exists type ttl expire persist hset hget hmget hgetall hlen hexists sadd smembers scard sismember rpush lpush "
    "lrange llen lpos zcard zrange zrevrange zrangebyscore zscore get mget set xrange xrevrange xlen"
)


@dataclass(frozen=True)
class Hub:
    bind: str
    redis_port: int
    mlflow_port: int
    data: Path

    @property
    def is_local(self) -> bool:
        return self.bind in LOOPBACK

    @property
    def reached_as(self) -> str:
        """The address at which this machine itself reaches the hub."""
        return "127.0.0.1" if self.bind in ("0.0.0.0", "::", *LOOPBACK) else self.bind

    @property
    def redis_address(self) -> str:
        return f"{self.reached_as}:{self.redis_port}"

    @property
    def mlflow_url(self) -> str:
        return f"http://{self.reached_as}:{self.mlflow_port}"

    @property
    def allowed_hosts(self) -> str:
        """Names a browser or client may call the MLflow server by; others get a 403."""
        names = {"localhost", "127.0.0.1", self.reached_as, *([] if self.is_local else [socket.gethostname()])}
        return ",".join(f"{name}:{self.mlflow_port}" for name in sorted(names))


@dataclass(frozen=True)
class Credentials:
    agent: str
    worker: str


def read_env(env_file: Path) -> dict[str, str]:
    lines = env_file.read_text().splitlines() if env_file.exists() else []
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def keep_credentials(env_file: Path, hub: Hub, mlflow_login: str = "") -> Credentials:
    """Keeps the passwords of an existing .env or creates new ones, and writes the current addresses. Other lines stay.

    mlflow_login: `name:password@` if MLflow asks for a password, else empty.
    """
    there = read_env(env_file)
    agent, worker = (
        there.get(name) or secrets.token_urlsafe(24) for name in ("HUB_AGENT_PASSWORD", "HUB_WORKER_PASSWORD")
    )
    agent_url = f"redis://agent:{agent}@{hub.redis_address}/0"
    ours = {
        "HUB_AGENT_PASSWORD": agent,
        "HUB_WORKER_PASSWORD": worker,
        "ARE_REDIS_URL": agent_url,
        "ARE_WORKER_REDIS_URL": f"redis://worker:{worker}@{hub.redis_address}/0",
        "ARE_TRACKING_URI": hub.mlflow_url.replace("://", f"://{mlflow_login}"),
        "RQ_REDIS_URL": agent_url,
    }
    lines = env_file.read_text().splitlines() if env_file.exists() else []
    kept = [line for line in lines if line.split("=", 1)[0] not in ours]
    write_private(env_file, "\n".join([*kept, *(f"{name}={value}" for name, value in ours.items())]) + "\n")
    return Credentials(agent, worker)


def acl(credentials: Credentials) -> str:
    """Redis' file of users, with passwords as hashes. A key pattern after %R allows only reading."""
    commands = " ".join(f"+{command}" for command in AGENT_COMMANDS.split())
    # `rq info` drops what expired from these lists before it shows them
    tidying = "(+zremrangebyscore ~rq:finished:* ~rq:failed:* ~rq:deferred:* ~rq:ready:*)"
    # the book of ideas: to append and not to change
    book = "(+rpush ~are:ideas) (+setnx ~are:recipe:*)"
    agent_keys = "~rq:job:* ~rq:queue:* ~rq:queues ~are:group:* ~are:cancel:* %R~rq:* %R~are:*"
    return (
        # nobody can be it; but Redis 7.0 reads its own file as this user, and would leave out every transaction
        "user default off resetpass ~* &* +@all\n"
        f"user agent on #{_sha(credentials.agent)} resetchannels {agent_keys} -@all {commands} {tidying} {book}\n"
        f"user worker on #{_sha(credentials.worker)} ~rq:* ~are:* &rq:* +@all -@admin -@dangerous +info +client|list\n"
    )


def _sha(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def write_private(path: Path, content: str) -> None:
    """Writes a file that only this user can read, from its first moment on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write(content)
        file.flush()
        sync(file.fileno())
    os.replace(temporary, path)
