"""Does the worker of this host still tell the hub that it is there? `python -m services.worker.health`: 0 or 1."""

import socket
import sys
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from shared.settings import settings

TIMEOUT_S = 5.0


def main() -> int:
    url = settings().worker_redis_url or settings().redis_url
    try:
        with Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S) as connection:
            return 0 if is_there(connection) else 1
    except RedisError as error:
        print(error, file=sys.stderr)
        return 1


def is_there(connection: Redis) -> bool:
    """The hub forgets a worker's key when no heartbeat renews it."""
    here = f".{socket.gethostname()}."
    members: Any = connection.smembers("rq:workers")
    keys = [key.decode() for key in members]
    return any(here in key and connection.exists(key) for key in keys)


if __name__ == "__main__":
    sys.exit(main())
