"""Connections to the hub's Redis: a patient one that outlives an outage of minutes, a quick one that gives up."""

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry

RETRIES, LONGEST_PAUSE_S = 150, 2.0
HEALTH_CHECK_S = 15
QUICK_TIMEOUT_S = 1.0


def patient(url: str) -> Redis:
    """Tries again for about five minutes, notices half-open connections, sees nothing of a restart of Redis."""
    return Redis.from_url(
        url,
        retry=Retry(ExponentialBackoff(cap=LONGEST_PAUSE_S, base=0.05), RETRIES),
        retry_on_error=[ConnectionError, TimeoutError],
        socket_keepalive=True,
        socket_connect_timeout=5,
        health_check_interval=HEALTH_CHECK_S,
    )


def quick(url: str) -> Redis:
    """For looking in from a thread beside an experiment: an outage costs a second, not the answer to a cancel."""
    return Redis.from_url(url, retry=Retry(ExponentialBackoff(), 0), socket_timeout=QUICK_TIMEOUT_S)
