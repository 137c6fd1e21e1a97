"""Estimates a training step without the GPU: python -m services.kernel_lab.estimate '{"sides": ...}'.

The argument is an EstimateRequest (shared/kernel_lab/estimate.py), which names the file of the answer. Exit code 2
with one line on stderr for what cannot be estimated.
"""

import sys

from pydantic import ValidationError

from services.kernel_lab.estimate.estimate import estimate
from shared.kernel_lab.estimate import EstimateRequest
from shared.sandbox.ending import adopt_orphans
from shared.sandbox.parent_death import exit_with_parent, is_started_apart
from shared.stages.command import end_on_signals
from shared.stages.executors import BAD_INPUT


def parse(arguments: list[str]) -> EstimateRequest:
    """ValueError in one line."""
    if len(arguments) != 1:
        raise ValueError("one argument is needed, an EstimateRequest as JSON: autoresearch lab estimate makes one")
    try:
        return EstimateRequest.model_validate_json(arguments[0])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "request"
        raise ValueError(f"not a valid EstimateRequest: {where}: {first['msg']}") from None


def main() -> int:
    if is_started_apart():  # started by the console, not by hand
        exit_with_parent(grace_s=10.0)
    adopt_orphans()
    end_on_signals()
    try:
        estimate(parse(sys.argv[1:]))
    except ValueError as error:
        print(*str(error).split(), file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        return BAD_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
