"""Connections to the hub's Redis: a patient one that outlives an outage of minutes, a quick one that gives up."""

import threading
import time
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry

RETRIES, LONGEST_PAUSE_S = 150, 2.0
HEALTH_CHECK_S = 15
QUICK_TIMEOUT_S = 1.0
PATIENCE_WHEN_ENDING_S = 2.0

told_to_end = threading.Event()
"""set when this process was asked to end: from then on an outage is not waited for"""


class PatientRetry(Retry):
    """As long as nobody waits for the end of this process: a hub that stops with us will not answer again."""

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Any:
        failing_since: list[float] = []

        def is_worth_it(error: Exception) -> bool:
            failing_since.append(time.monotonic())
            late = time.monotonic() - failing_since[0] > PATIENCE_WHEN_ENDING_S
            return not (late and told_to_end.is_set()) and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, is_worth_it, with_failure_count)


def patient(url: str) -> Redis:
    """Tries again for about five minutes, notices half-open connections, sees nothing of a restart of Redis."""
    return Redis.from_url(
        url,
        retry=PatientRetry(ExponentialBackoff(cap=LONGEST_PAUSE_S, base=0.05), RETRIES),
        retry_on_error=[ConnectionError, TimeoutError],
        socket_keepalive=True,
        socket_connect_timeout=5,
        health_check_interval=HEALTH_CHECK_S,
    )


def quick(url: str) -> Redis:
    """For looking in from a thread beside an experiment: an outage costs a second, not the answer to a cancel."""
    return Redis.from_url(url, retry=Retry(ExponentialBackoff(), 0), socket_timeout=QUICK_TIMEOUT_S)
