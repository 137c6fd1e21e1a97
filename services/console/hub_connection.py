"""The console's connection to the hub's queue. It gives up after 5 s, with one line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from services.console.env_file import load_env
from shared.fleet.store import FleetStore
from shared.settings import settings

if TYPE_CHECKING:
    from rq import Queue

TIMEOUT_S = 5.0


@contextmanager
def hub(*, operator: bool = False) -> Iterator[Redis]:
    """The queue's connection. ValueError when the hub does not answer or refuses access."""
    load_env()
    url = (operator and settings().worker_redis_url) or settings().redis_url
    connection = Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
    try:
        yield connection
    except AuthenticationError:
        raise ValueError(
            f"the hub at {place(url)} refuses the password: copy the current .env of the hub into this checkout"
        ) from None
    except NoPermissionError as error:
        raise ValueError(
            f"the hub does not permit this command ({error}): set ARE_WORKER_REDIS_URL, which is in the hub's .env"
        ) from None
    except RedisError as error:
        raise ValueError(
            f"no hub answers at {place(url)} ({error}): start one with `make hub`, or set ARE_REDIS_URL to its address"
        ) from None
    finally:
        connection.close()


def place(url: str) -> str:
    """The address without name and password."""
    return url.rpartition("@")[2].removeprefix("redis://").partition("/")[0]


def store(connection: Redis) -> FleetStore:
    return FleetStore(connection)


def queue(name: str, connection: Redis) -> "Queue":
    from rq import Queue
    from rq.serializers import JSONSerializer

    return Queue(name, connection=connection, serializer=JSONSerializer)
