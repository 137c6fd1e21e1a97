"""Docker waits ever longer, up to a minute, before it starts a container again that lived under ten seconds.

Stages may be that short. So after some short lives in a row one is made long enough, which costs less than the waiting.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LONG_ENOUGH_S = 10.5
MOST_SHORT_LIVES = 4
"""after them Docker has waited 0.1 + 0.2 + 0.4 + 0.8 s in all"""
COUNTER = ".short-lives"


@contextmanager
def long_enough(items: Path) -> Iterator[None]:
    """Around the one stage of an executor. Only the first process of a container has a reason to stay."""
    started = time.monotonic()
    yield
    if os.getpid() == 1:
        time.sleep(rest_s(items, time.monotonic() - started))


def rest_s(items: Path, lived_s: float) -> float:
    """How much longer to live, after a life of `lived_s`; remembers the short ones beside the work items."""
    counter, short = items / COUNTER, 0
    with suppress(OSError, ValueError):
        short = int(counter.read_text())
    if lived_s >= LONG_ENOUGH_S or short >= MOST_SHORT_LIVES:
        counter.unlink(missing_ok=True)
        return max(0.0, LONG_ENOUGH_S - lived_s)
    counter.write_text(str(short + 1))
    return 0.0
