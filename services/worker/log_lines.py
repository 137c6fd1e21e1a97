"""What a worker prints: that a job starts, how it ended, and what went wrong.

RQ's own log also has two lines every ten seconds because the worker looked around, and calls a run that diverged "Job
OK", since the job came to its end.
"""

import logging

from shared.fleet.contracts import Outcome
from shared.fleet.view import describe

ROUTINE = frozenset(
    {
        "Worker %s: cleaning registries for queue: %s",
        "Worker %s: cleaning group registries",
        "Worker %s: subscribing to channel %s",
        "Worker %s: %s: %s (%s)",
        "Successfully completed job %s in %ss on worker %s",
    }
)
"""RQ's templates for them"""


def is_news(record: logging.LogRecord) -> bool:
    """A filter for RQ's logger."""
    return record.msg not in ROUTINE


def ending(outcome: Outcome | None) -> str:
    """Of one attempt, in one line."""
    if outcome is None:
        return "the attempt ended without a result: the job is tried again, or given up"
    said = describe(outcome)
    return said if said == outcome.status else f"{outcome.status}: {said}"
